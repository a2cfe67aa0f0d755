/* Reader of VT-d second-stage tables: QEMU's intel-iommu in legacy mode, with edu's DMA
 * (x86_edu.c). Root and context tables are the guest's own; only the device's context entry leads
 * to the table under test. Settings: 0 the root, 1 its levels. A fault's code is its reason, with
 * bit 16 set for reads. */
#include "x86_edu.h"

#define REGISTERS 0xfed90000u /* of q35's */
#define CAP 0x08
#define ECAP 0x10
#define GCMD 0x18
#define GSTS 0x1c
#define RTADDR 0x20
#define CCMD 0x28
#define FSTS 0x34
#define SET_ROOT (1u << 30)
#define TRANSLATE (1u << 31)

static uint64_t root_table[512] __attribute__((aligned(4096)));
static uint64_t context_table[512] __attribute__((aligned(4096)));

static uint32_t volatile* register32(unsigned offset) { return PHYSICAL(REGISTERS + offset); }
static uint64_t volatile* register64(unsigned offset) { return PHYSICAL(REGISTERS + offset); }

static uint64_t physical(void const* own) { return (uintptr_t)own - PHYSICAL_BASE; }

static void command(uint32_t what)
{
    *register32(GCMD) = (*register32(GSTS) & TRANSLATE) | what;
    while ((*register32(GSTS) & what) == 0) {
    }
}

void iommu_start(struct orders const* orders)
{
    root_table[0] = physical(context_table) | 1;
    context_table[2 * EDU_DEVFN] = orders->setting[0] | 1;
    context_table[2 * EDU_DEVFN + 1] = (orders->setting[1] - 2) | 1 << 8; /* width, domain 1 */
    *register64(RTADDR) = physical(root_table);
    command(SET_ROOT);
    iommu_flush();
    command(TRANSLATE);
}

void iommu_flush(void)
{
    *register64(CCMD) = 1ull << 63 | 1ull << 61;
    while ((*register64(CCMD) >> 63) != 0) {
    }
    unsigned const iotlb = (unsigned)(*register64(ECAP) >> 8 & 0x3ff) * 16 + 8;
    *register64(iotlb) = 1ull << 63 | 1ull << 60;
    while ((*register64(iotlb) >> 63) != 0) {
    }
}

uint32_t iommu_fault(uint64_t* address)
{
    unsigned const record = (unsigned)(*register64(CAP) >> 24 & 0x3ff) * 16;
    uint64_t const high = *register64(record + 8);
    if ((high >> 63) == 0) return 0;
    *address = *register64(record) & ~0xfffull;
    *register64(record + 8) = 1ull << 63;
    *register32(FSTS) = 1; /* overflow */
    return (uint32_t)(high >> 32 & 0xff) | (uint32_t)(high >> 62 & 1) << 16;
}
