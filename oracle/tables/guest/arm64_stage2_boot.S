/* Boot of the Arm stage 2 reader. QEMU's virt board with virtualization enters at EL2, without translation, at
 * physical 1 GiB + 1 MiB, and stays so. The accesses are made at EL1, whose own translation is off, by a few
 * instructions that the table under test must show at the IOVA of setting 2. */

    .section .text.boot, "ax"
    .globl _start
_start:
    ldr x0, =stack_end
    mov sp, x0
    ldr x0, =vectors
    msr vbar_el2, x0
    isb
    b run
    .ltorg

/* uint64_t access_below(uint64_t iova, uint64_t value, uint64_t pc, uint64_t* syndrome): runs the EL1 code at pc. */
    .globl access_below
access_below:
    stp x3, x30, [sp, #-16]!
    msr elr_el2, x2
    mov x2, #0x3c5 /* EL1h, everything masked */
    msr spsr_el2, x2
    isb
    eret

    .globl below_begin, below_end, below_vector
below_begin:
    ldr x0, [x0]
    hvc #0
    str x1, [x0]
    hvc #0
below_end:
/* EL1's vector: aborts from beyond the MMU come there. */
below_vector:
    hvc #1

    .balign 2048
vectors:
    .fill 0x400, 1, 0
    mrs x1, esr_el2
    ldp x3, x30, [sp], #16
    lsr x2, x1, #26
    cmp x2, #0x16 /* HVC: done */
    b.eq 1f
    mrs x0, hpfar_el2
    mrs x2, far_el2
    and x2, x2, #0xfff
    ubfx x0, x0, #4, #40
    orr x0, x2, x0, lsl #12
    str x1, [x3]
    ret
1:  tbnz x1, #0, 2f
    str xzr, [x3]
    ret
2:  mrs x1, esr_el1
    mrs x0, far_el1
    str x1, [x3]
    ret
    .balign 2048

    .bss
    .balign 16
    .skip 16384
stack_end:
