/* Reader of Arm v7s tables: the MMU of a cortex-a15, which loads and stores as user code would
 * (LDRT, STRT), four bytes at a time. arm32_boot.S says how it starts. Setting 0 is the root. A
 * fault's code is DFSR with bit 31. */
#include "reader.h"

#define OWN_MIB 0x40100000u
#define SECTION_OWN (OWN_MIB | 1u << 10 | 2u) /* access flag, no user; a section */
#define ACCESS_FLAG_ENABLE (1u << 29)
#define TEX_REMAP (1u << 28)

uint32_t access_translated(uint32_t iova, uint32_t value, void (*code)(void), uint32_t* result);
void user_load(void), user_store(void);

void reader_start(struct orders const* orders)
{
    uint32_t const root = (uint32_t)orders->setting[0];
    ((uint32_t*)PHYSICAL(root))[OWN_MIB >> 20] = SECTION_OWN;
    uint32_t control;
    __asm__ volatile("mrc p15, 0, %0, c1, c0, 0" : "=r"(control));
    __asm__ volatile("mcr p15, 0, %0, c1, c0, 0" ::"r"(control | ACCESS_FLAG_ENABLE | TEX_REMAP));
    __asm__ volatile(
        "mcr p15, 0, %0, c10, c2, 0" ::"r"(0x800b8204u)); /* PRRR and NMRR of io-pgtable-arm-v7s */
    __asm__ volatile("mcr p15, 0, %0, c10, c2, 1" ::"r"(0x40004000u));
    __asm__ volatile(
        "mcr p15, 0, %0, c3, c0, 0" ::"r"(0x55555555)); /* permissions are checked in all domains */
    __asm__ volatile(
        "mcr p15, 0, %0, c2, c0, 2" ::"r"(0)); /* TTBCR: all of the addresses are TTBR0's */
    __asm__ volatile("mcr p15, 0, %0, c2, c0, 0; isb" ::"r"(root | 0x6au));
}

void reader_flush(void)
{
    __asm__ volatile("dsb; mcr p15, 0, %0, c8, c7, 0; dsb; isb" ::"r"(0) : "memory");
}

void reader_probe(struct probe const* probe, struct answer* answer)
{
    uint32_t const iova = (uint32_t)probe->iova;
    void (*const code)(void) = probe->kind == PROBE_READ ? user_load : user_store;
    uint32_t low = 0;
    uint32_t high = 0;
    uint32_t fault = access_translated(iova, (uint32_t)probe->value, code, &low);
    if (fault == 0)
        fault = access_translated(iova + 4, (uint32_t)(probe->value >> 32), code, &high);
    answer->outcome = fault != 0 ? ANSWER_FAULT : ANSWER_DONE;
    answer->code = fault & 0x7fffffffu;
    answer->value = (uint64_t)high << 32 | low;
    answer->address = fault != 0 ? low : 0;
}

void reader_finish_pass(struct probe const* probes, struct answer* answers, uint64_t count)
{
    (void)probes, (void)answers, (void)count;
}

/* PSCI SYSTEM_OFF. */
void reader_power_off(void)
{
    register uint32_t function __asm__("r0") = 0x84000008;
    __asm__ volatile(".arch_extension virt; hvc #0" : "+r"(function));
    for (;;) __asm__ volatile("wfi");
}
