/* Reader of RISC-V tables: the MMU of a CPU in M mode that loads and stores as U mode would (MPRV).
 * riscv_boot.S says how it starts. Setting 0 is SATP. A fault's code is MCAUSE. */
#include "reader.h"

#define MSTATUS_MPP (3ull << 11)
#define MSTATUS_MPRV (1ull << 17)
#define TEST_FINISHER 0x100000
#define FINISHER_PASS 0x5555

void reader_start(struct orders const* orders)
{
    /* Physical memory protection: everything is allowed. */
    __asm__ volatile("csrw pmpaddr0, %0; csrw pmpcfg0, %1" ::"r"(~0ull >> 10), "r"(0x1f));
    __asm__ volatile("csrw satp, %0" ::"r"(orders->setting[0]));
    __asm__ volatile("csrc mstatus, %0" ::"r"(MSTATUS_MPP));
}

void reader_flush(void) { __asm__ volatile("sfence.vma" ::: "memory"); }

void reader_probe(struct probe const* probe, struct answer* answer)
{
    register uint64_t value __asm__("a0") = probe->iova;
    register uint64_t fault __asm__("a1") = 0;
    register uint64_t stored __asm__("a2") = probe->value;
    if (probe->kind == PROBE_READ)
        __asm__ volatile(
            ".option push; .option norvc; csrs mstatus, %2; ld a0, 0(a0); csrc mstatus, %2; "
            ".option pop"
            : "+r"(value), "+r"(fault)
            : "r"(MSTATUS_MPRV)
            : "memory");
    else
        __asm__ volatile(
            ".option push; .option norvc; csrs mstatus, %3; sd a2, 0(a0); csrc mstatus, %3; "
            ".option pop"
            : "+r"(value), "+r"(fault)
            : "r"(stored), "r"(MSTATUS_MPRV)
            : "memory");
    answer->outcome = fault != 0 ? ANSWER_FAULT : ANSWER_DONE;
    answer->code = (uint32_t)fault;
    answer->value = value;
    answer->address = fault != 0 ? value : 0;
}

void reader_finish_pass(struct probe const* probes, struct answer* answers, uint64_t count)
{
    (void)probes, (void)answers, (void)count;
}

void reader_power_off(void)
{
    *(uint32_t volatile*)TEST_FINISHER = FINISHER_PASS;
    for (;;) __asm__ volatile("wfi");
}
