/* Boot of the Arm stage 1 reader. QEMU's virt board enters at EL1, without translation, at physical 1 GiB + 1 MiB.
 * TTBR1 leads the upper half, at PHYSICAL_BASE, to all physical memory, in blocks of 1 GiB of the guest's own; for a
 * moment TTBR0 does so too, so that this code can go on up there. */

/* TCR: 39 bits for either half, granules of 4 KiB, write-back, inner shareable. */
#define TCR_OWN ((25 << 0) | (1 << 8) | (1 << 10) | (3 << 12) | (25 << 16) | (1 << 24) | (1 << 26) | (3 << 28) | (2 << 30))
#define NORMAL_BLOCK 0x405 /* attributes 1, for EL1 only; no shareability, whose place is address with LPA2 */

    .section .text.boot, "ax"
    .globl _start
_start:
    adr x9, upper_table
    mov x1, #NORMAL_BLOCK
    mov x2, #0
1:  add x3, x1, x2, lsl #30
    str x3, [x9, x2, lsl #3]
    add x2, x2, #1
    cmp x2, #512
    b.ne 1b
    ldr x0, =TCR_OWN
    msr tcr_el1, x0
    mov x0, #0xff00
    msr mair_el1, x0
    msr ttbr0_el1, x9
    msr ttbr1_el1, x9
    ldr x0, =vectors
    msr vbar_el1, x0
    tlbi vmalle1
    dsb ish
    isb
    mrs x0, sctlr_el1
    orr x0, x0, #1
    ldr x1, =upper
    msr sctlr_el1, x0
    isb
    br x1
upper:
    ldr x0, =stack_end
    mov sp, x0
    b run
    .ltorg

/* A load or store of run.c's reader that faults goes on behind itself with the syndrome in x1 and the
 * faulting address in x0. */
    .balign 2048
vectors:
    .fill 0x200, 1, 0
    mrs x1, esr_el1
    mrs x2, elr_el1
    add x2, x2, #4
    msr elr_el1, x2
    mrs x0, far_el1
    eret

    .bss
    .balign 4096
upper_table:
    .skip 4096
    .skip 16384
stack_end:
