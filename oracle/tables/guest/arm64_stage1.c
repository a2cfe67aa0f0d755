/* Reader of Arm stage 1 tables: the MMU of a CPU at EL1, which loads and stores as EL0 would (LDTR,
 * STTR), and its translation instructions. arm64_stage1_boot.S says how it starts. TTBR0 is the
 * table under test's alone. Settings: 0 TTBR0, 1 TCR without the fields of TTBR1, 2 MAIR. A fault's
 * code is ESR_EL1, or PAR_EL1's low half for a translation. */
#include "arm64.h"

#define TCR_UPPER 0xffff0000ull /* the fields of TTBR1 */

void reader_start(struct orders const* orders)
{
    uint64_t own;
    __asm__ volatile("mrs %0, tcr_el1" : "=r"(own));
    __asm__ volatile("msr mair_el1, %0" ::"r"(orders->setting[2]));
    __asm__ volatile("msr tcr_el1, %0" ::"r"((own & TCR_UPPER) | orders->setting[1]));
    __asm__ volatile("msr ttbr0_el1, %0; isb" ::"r"(orders->setting[0]));
}

void reader_flush(void) { __asm__ volatile("dsb ish; tlbi vmalle1; dsb ish; isb" ::: "memory"); }

uint64_t translate(struct probe const* probe)
{
    uint64_t result;
    if (probe->kind == PROBE_TRANSLATE_READ)
        __asm__ volatile("at s1e0r, %0" ::"r"(probe->iova) : "memory");
    else
        __asm__ volatile("at s1e0w, %0" ::"r"(probe->iova) : "memory");
    __asm__ volatile("isb; mrs %0, par_el1" : "=r"(result));
    return result;
}

/* The boot code's handler knows which registers these are. */
uint64_t access(struct probe const* probe, uint64_t* fault)
{
    register uint64_t value __asm__("x0") = probe->iova;
    register uint64_t syndrome __asm__("x1") = 0;
    register uint64_t stored __asm__("x3") = probe->value;
    if (probe->kind == PROBE_READ)
        __asm__ volatile("ldtr x0, [x0]" : "+r"(value), "+r"(syndrome)::"x2", "memory");
    else
        __asm__ volatile("sttr x3, [x0]"
                         : "+r"(value), "+r"(syndrome)
                         : "r"(stored)
                         : "x2", "memory");
    *fault = syndrome;
    return value;
}

/* PSCI SYSTEM_OFF. */
void reader_power_off(void)
{
    register uint64_t function __asm__("x0") = 0x84000008;
    __asm__ volatile("hvc #0" : "+r"(function));
    for (;;) __asm__ volatile("wfi");
}
