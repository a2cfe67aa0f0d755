/* Boot of the Arm v7s reader. QEMU's virt board enters a cortex-a15 in SVC mode, without translation, at physical
 * 1 GiB + 1 MiB. All of the guest fits into that MiB; the table under test's slot for it, which must be empty, gets a
 * section of the guest's own, so that these few instructions go on while translation is on. */

    .section .text.boot, "ax"
    .globl _start
_start:
    ldr sp, =stack_end
    ldr r0, =vectors
    mcr p15, 0, r0, c12, c0, 0 /* VBAR */
    cps #0x17 /* abort mode */
    ldr sp, =abort_stack_end
    cps #0x13
    b run
    .ltorg

/* uint32_t access_translated(uint32_t iova, uint32_t value, void (*code)(void), uint32_t* result): DFSR with bit 31 of a fault,
 * or 0. */
    .globl access_translated, user_load, user_store
access_translated:
    push {r4, r5, r6, lr}
    mov r4, r3
    mov r5, #0 /* the fault */
    mrc p15, 0, r6, c1, c0, 0
    orr r3, r6, #1
    mcr p15, 0, r3, c1, c0, 0
    isb
    blx r2
    mcr p15, 0, r6, c1, c0, 0
    isb
    str r1, [r4]
    mov r0, r5
    pop {r4, r5, r6, pc}

user_load:
    ldrt r1, [r0]
    bx lr
user_store:
    strt r1, [r0]
    bx lr

/* A fault goes on behind the load or store, with DFAR in r1. */
    .balign 32
vectors:
    b .
    b .
    b .
    b .
    b data_abort
    b .
    b .
    b .
data_abort:
    mrc p15, 0, r5, c5, c0, 0
    orr r5, r5, #0x80000000
    mrc p15, 0, r1, c6, c0, 0
    subs pc, lr, #4

    .bss
    .balign 8
    .skip 16384
stack_end:
    .skip 64
abort_stack_end:
