/* Runs one load or store as user code, and comes back by a system call or a fault.
 * uint64_t access_as_user(uint64_t iova, uint64_t value, void (*code)(void), uint64_t* fault) */

    .text
    .globl access_as_user, user_read, user_write, trap_page_fault, trap_protection, trap_done
access_as_user:
    push %rbx
    push %rbp
    push %r12
    push %r13
    push %r14
    push %r15
    push %rcx
    mov %rsp, kernel_stack(%rip)
    push $0x1b
    push $0
    push $2
    push $0x23
    push %rdx
    iretq

user_read:
    mov (%rdi), %rax
    int $0x80
user_write:
    mov %rsi, (%rdi)
    int $0x80

trap_protection:
    pop %rdx
    or $(13 << 16), %edx
    xor %eax, %eax
    jmp back
trap_page_fault:
    pop %rdx
    or $(14 << 16), %edx
    mov %cr2, %rax
    jmp back
trap_done:
    xor %edx, %edx
back:
    mov kernel_stack(%rip), %rsp
    pop %rcx
    mov %rdx, (%rcx)
    pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %rbp
    pop %rbx
    ret

    .bss
    .balign 8
kernel_stack:
    .skip 8
