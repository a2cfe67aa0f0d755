/* Boot of all x86 guests. QEMU loads the ELF file by its PVH note, and its firmware enters `_start` in 32-bit mode. This
 * goes to 64 bits, with 5 levels of tables if setting 1 is 5 and 4 otherwise. The guest's own tables lead the
 * upper half, at PHYSICAL_BASE = 0xffffff8000000000, to the first 512 GiB of physical memory (and the lower half,
 * for a moment), in leaves of 1 GiB that user code may use: only the last slot of a root is needed for that. */

    .section .note.pvh, "a"
    .long 4, 4, 18 /* XEN_ELFNOTE_PHYS32_ENTRY */
    .asciz "Xen"
    .long _start - PHYSICAL_BASE

    .section .text.boot, "ax"
    .code32
    .globl _start
_start:
    cld
    mov $(upper_table - PHYSICAL_BASE), %edi
    xor %ecx, %ecx
1:  mov %ecx, %eax
    shl $30, %eax
    or $0x87, %eax /* present, writable, user, a leaf */
    mov %eax, (%edi, %ecx, 8)
    mov %ecx, %eax
    shr $2, %eax
    mov %eax, 4(%edi, %ecx, 8)
    inc %ecx
    cmp $512, %ecx
    jne 1b

    mov $(upper_table - PHYSICAL_BASE + 7), %eax
    mov %eax, level4 - PHYSICAL_BASE
    mov %eax, level4 - PHYSICAL_BASE + 511 * 8
    mov $(level4 - PHYSICAL_BASE), %ebx
    mov $0x20, %edx /* CR4.PAE */
    cmpl $5, ORDERS + 24
    jne 2f
    mov $(level4 - PHYSICAL_BASE + 7), %eax
    mov %eax, level5 - PHYSICAL_BASE
    mov %eax, level5 - PHYSICAL_BASE + 511 * 8
    mov $(level5 - PHYSICAL_BASE), %ebx
    or $0x1000, %edx /* CR4.LA57 */
2:  mov %edx, %cr4
    mov %ebx, %cr3
    mov $0xc0000080, %ecx /* EFER: long mode, execute-disable */
    rdmsr
    or $0x900, %eax
    wrmsr
    mov %cr0, %eax
    or $0x80010001, %eax /* paging, write protection for the kernel too */
    mov %eax, %cr0
    lgdt gdt_pointer_low - PHYSICAL_BASE
    ljmp $0x08, $(3f - PHYSICAL_BASE)
    .code64
3:  movabs $4f, %rax
    jmp *%rax
4:  lgdt gdt_pointer(%rip)
    xor %eax, %eax
    mov %eax, %ds
    mov %eax, %es
    mov %eax, %ss
    lea stack_end(%rip), %rsp
    lea task_state(%rip), %rax
    mov %ax, task_descriptor + 2(%rip)
    shr $16, %rax
    mov %al, task_descriptor + 4(%rip)
    mov %ah, task_descriptor + 7(%rip)
    shr $16, %rax
    mov %eax, task_descriptor + 8(%rip)
    mov $0x28, %ax
    ltr %ax
    call run

    .data
    .balign 16
gdt:
    .quad 0
    .quad 0x00209a0000000000 /* 0x08 kernel code */
    .quad 0x0000920000000000 /* 0x10 kernel data */
    .quad 0x0000f20000000000 /* 0x18 user data */
    .quad 0x0020fa0000000000 /* 0x20 user code */
task_descriptor:
    .quad 0x0000890000000067, 0
gdt_end:
gdt_pointer_low:
    .word gdt_end - gdt - 1
    .long gdt - PHYSICAL_BASE
gdt_pointer:
    .word gdt_end - gdt - 1
    .quad gdt
    .balign 16
task_state:
    .long 0
    .quad trap_stack_end
    .fill 92, 1, 0

    .bss
    .balign 4096
    .globl upper_table, level4
upper_table:
    .skip 4096
level4:
    .skip 4096
level5:
    .skip 4096
    .skip 16384
stack_end:
    .skip 4096
trap_stack_end:
