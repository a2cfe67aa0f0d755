/* Which parts of a transfer do not come through. The program cannot see the IOMMU: it asks Type1
 * what is mapped, and knows how it was mapped and what this IOMMU lets a device do there. */
#ifndef PINFOLD_ORACLE_RANDOM_FAULTS_H
#define PINFOLD_ORACLE_RANDOM_FAULTS_H
#include "random/operation.h"
#include "random/outcome.h"
#include "random/taken.h"

static unsigned
    lost; /* since the start of the block: pieces of transfers, each within 4K of IOVA */
static unsigned unsure; /* DMA operations of which that is not known */

/* Whether container 0 has a mapping there: EEXIST comes before all that could keep a page at 0 from
 * being mapped. */
static inline bool is_mapped(uint64_t iova, uint64_t unit)
{
    return map_dma(containers[0], kRead, 0, iova & ~(unit - 1), unit) != 0 && errno == EEXIST;
}

/* By the hole for messages at 128M. It cannot keep a device from reading what it may write. */
static inline bool is_smmu(void) { return ranges[0].last == 0x7ffffff; }

/* By the local APICs' hole without the one for HyperTransport, which AMD's have too. */
static inline bool is_vtd(void)
{
    for (unsigned i = 0; i < range_count; ++i)
        if (ranges[i].last == 0xfcffffffff) return false;
    return ranges[0].last == 0xfedfffff;
}

/* Linux 7.3 says EOVERFLOW of a range that wraps, kernels before it EINVAL (docs/type1.md, 3.1). */
static inline bool is_before_7_3(uint64_t unit)
{
    return map_dma(containers[0], kRead, 0, -unit, 2 * unit) != 0 && errno == EINVAL;
}

/* Drivers for VT-d before 7.3 let devices read whatever is mapped. */
static inline bool reads_what_it_writes(uint64_t unit)
{
    return range_count > 0 && (is_smmu() || (is_vtd() && is_before_7_3(unit)));
}

static inline bool comes_through(uint64_t iova, uint64_t unit, bool is_read)
{
    if (!is_mapped(iova, unit)) return false;
    uint32_t const flags = last_flags(iova);
    return (flags & (is_read ? kRead : kWrite)) != 0 || (is_read && reads_what_it_writes(unit));
}

static inline bool is_nothing(unsigned char const* bytes, uint64_t count)
{
    for (uint64_t i = 0; i < count; ++i)
        if (bytes[i] != 0 && bytes[i] != 0xff) return false;
    return true;
}

/* Of `count` bytes at `iova`. seen: what the device read there, or NULL. */
static inline unsigned lost_pieces(uint64_t iova, uint64_t count, unsigned char const* seen)
{
    uint64_t const unit = granule(containers[0]);
    unsigned pieces = 0;
    for (uint64_t done = 0; done < count;) {
        uint64_t const here = iova + done;
        uint64_t const left = 4096 - here % 4096;
        uint64_t const size = left < count - done ? left : count - done;
        if (!comes_through(here, unit, seen != NULL)) {
            ++pieces;
            if (seen != NULL && !is_nothing(seen + done, size)) say(" something");
        }
        done += size;
    }
    return pieces;
}

#endif
