/* Reader of AMD v1 tables: QEMU's amd-iommu, with edu's DMA (x86_edu.c). The device table is the
 * guest's own; only the device's entry leads to the table under test. Settings: 0 the root, 1 its
 * levels. A fault's code is the high half of the event's first eight bytes. */
#include "x86_edu.h"

#define REGISTERS 0xfed80000u /* of QEMU's */
#define DEVICE_TABLE 0x00
#define COMMANDS 0x08
#define EVENTS 0x10
#define CONTROL 0x18
#define COMMAND_HEAD 0x2000
#define COMMAND_TAIL 0x2008
#define EVENT_HEAD 0x2010
#define EVENT_TAIL 0x2018
#define RING_BYTES 4096
#define RING_LENGTH (8ull << 56) /* 2^8 entries of 16 bytes */

static uint64_t device_table[512] __attribute__((aligned(4096)));
static uint64_t commands[512] __attribute__((aligned(4096)));
static uint64_t events[512] __attribute__((aligned(4096)));

static uint64_t volatile* iommu_register(unsigned offset) { return PHYSICAL(REGISTERS + offset); }

static uint64_t physical(void const* own) { return (uintptr_t)own - PHYSICAL_BASE; }

void iommu_start(struct orders const* orders)
{
    uint64_t* const entry = &device_table[4 * EDU_DEVFN];
    entry[0] = orders->setting[0] | orders->setting[1] << 9 | 3 |
               3ull << 61; /* valid; translation; IR, IW */
    entry[1] = 1;          /* domain 1 */
    *iommu_register(DEVICE_TABLE) = physical(device_table);
    *iommu_register(COMMANDS) = physical(commands) | RING_LENGTH;
    *iommu_register(EVENTS) = physical(events) | RING_LENGTH;
    *iommu_register(CONTROL) = 1 << 12 | 1 << 2 | 1; /* commands, events, translation */
}

void iommu_flush(void)
{
    uint64_t const tail = *iommu_register(COMMAND_TAIL);
    commands[tail / 8] = 8ull << 60; /* INVALIDATE_IOMMU_ALL */
    commands[tail / 8 + 1] = 0;
    uint64_t const next = (tail + 16) % RING_BYTES;
    *iommu_register(COMMAND_TAIL) = next;
    /* QEMU shows the end of the ring where it means the beginning. */
    while (*iommu_register(COMMAND_HEAD) % RING_BYTES != next) {
    }
}

uint32_t iommu_fault(uint64_t* address)
{
    uint64_t const head = *iommu_register(EVENT_HEAD);
    if (head == *iommu_register(EVENT_TAIL)) return 0;
    uint64_t const first = *(uint64_t volatile*)&events[head / 8];
    *address = *(uint64_t volatile*)&events[head / 8 + 1];
    *iommu_register(EVENT_HEAD) = (head + 16) % RING_BYTES;
    return (uint32_t)(first >> 32) | 1u;
}
