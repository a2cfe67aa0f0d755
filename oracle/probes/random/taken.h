/* What container 0 has taken since the start of the block. What is mapped somewhere now was mapped
 * there by the last of these: two mappings never overlap. */
#ifndef PINFOLD_ORACLE_RANDOM_TAKEN_H
#define PINFOLD_ORACLE_RANDOM_TAKEN_H
#include "kinds.h"

struct taken {
    uint64_t iova;
    uint64_t size;
    uint32_t flags;
};
static struct taken taken[2048];
static unsigned taken_count;

static inline void note_mapping(uint64_t iova, uint64_t size, uint32_t flags)
{
    if (taken_count < sizeof taken / sizeof taken[0])
        taken[taken_count++] = (struct taken){iova, size, flags};
}

static inline uint32_t last_flags(uint64_t iova)
{
    for (unsigned i = taken_count; i > 0; --i)
        if (iova - taken[i - 1].iova < taken[i - 1].size) return taken[i - 1].flags;
    return 0;
}

#endif
