/* Reader of Arm stage 2 tables: the MMU of a CPU with EL2. arm64_stage2_boot.S says how it starts.
 * Settings: 0 VTTBR_EL2, 1 VTCR_EL2, 2 the IOVA and 3 the physical address of a page for the code
 * that runs at EL1. A fault's code is ESR_EL2, or ESR_EL1 of one from beyond the MMU, or PAR_EL1's
 * low half for a translation. */
#include "arm64.h"

#define HCR_VM (1ull << 0)
#define HCR_RW (1ull << 31)
/* In the page for EL1's code: its table of vectors, and in there the one for its own exceptions. */
#define VECTORS 0x800
#define VECTOR 0x200

extern uint32_t const below_begin[], below_end[], below_vector[];
uint64_t access_below(uint64_t iova, uint64_t value, uint64_t pc, uint64_t* syndrome);

static uint64_t code_below;

void reader_start(struct orders const* orders)
{
    uint32_t* code = PHYSICAL(orders->setting[3]);
    for (uint32_t const* word = below_begin; word < below_end; ++word) *code++ = *word;
    *(uint32_t*)PHYSICAL(orders->setting[3] + VECTORS + VECTOR) = *below_vector;
    code_below = orders->setting[2];
    __asm__ volatile("msr vbar_el1, %0" ::"r"(code_below + VECTORS));
    __asm__ volatile("msr vttbr_el2, %0" ::"r"(orders->setting[0]));
    __asm__ volatile("msr vtcr_el2, %0" ::"r"(orders->setting[1]));
    __asm__ volatile("msr hcr_el2, %0" ::"r"(HCR_VM | HCR_RW));
    __asm__ volatile("msr sctlr_el1, %0" ::"r"(0x30d00800ull)); /* translation off; reserved ones */
    __asm__ volatile("dsb ish; ic iallu; dsb ish; isb" ::: "memory");
}

void reader_flush(void) { __asm__ volatile("dsb ish; tlbi vmalls12e1; dsb ish; isb" ::: "memory"); }

uint64_t translate(struct probe const* probe)
{
    uint64_t result;
    if (probe->kind == PROBE_TRANSLATE_READ)
        __asm__ volatile("at s12e0r, %0" ::"r"(probe->iova) : "memory");
    else
        __asm__ volatile("at s12e0w, %0" ::"r"(probe->iova) : "memory");
    __asm__ volatile("isb; mrs %0, par_el1" : "=r"(result));
    return result;
}

uint64_t access(struct probe const* probe, uint64_t* fault)
{
    uint64_t const code = code_below + (probe->kind == PROBE_READ ? 0 : 8);
    return access_below(probe->iova, probe->value, code, fault);
}

/* PSCI SYSTEM_OFF. */
void reader_power_off(void)
{
    register uint64_t function __asm__("x0") = 0x84000008;
    __asm__ volatile("smc #0" : "+r"(function));
    for (;;) __asm__ volatile("wfi");
}
