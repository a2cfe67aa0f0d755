/* Boot of the RISC-V reader. QEMU's virt board without firmware enters in M mode, without translation, at physical
 * 2 GiB, and stays so. */

    .section .text.boot, "ax"
    .globl _start
_start:
    csrr t0, mhartid
1:  bnez t0, 1b
    la sp, stack_end
    la t0, trap
    csrw mtvec, t0
    j run

/* A load or store of the reader that faults goes on behind itself with the cause (and bit 63, which causes of
 * exceptions have not) in a1 and the faulting address in a0. */
    .balign 4
trap:
    csrr a1, mcause
    li a0, 1
    slli a0, a0, 63
    or a1, a1, a0
    csrr a0, mepc
    addi a0, a0, 4
    csrw mepc, a0
    csrr a0, mtval
    mret

    .bss
    .balign 16
    .skip 16384
stack_end:
