/* What becomes of the memory that is mapped, and how much of it may be locked. */
#ifndef PINFOLD_ORACLE_RANDOM_GENERATE_MEMORY_H
#define PINFOLD_ORACLE_RANDOM_GENERATE_MEMORY_H
#include "random/block.h"
#include "random/operation.h"

static bool with_bars; /* in this block */

/* Half of the memory is of the kinds that most programs map. */
static unsigned some_kind(void)
{
    unsigned const usual = OF(0, 0, 0, 1, 1, 2, 3, 7, 9);
    unsigned const any = below(kKindCount);
    unsigned const kind = one_in(2) ? usual : any;
    return with_bars || strcmp(kKinds[kind].name, "bar") != 0 ? kind : 0;
}

static void generate_memory(void)
{
    unsigned const first = below(kAreaPages);
    unsigned const count = 1 + below(10);
    switch (below(16)) {
        case 0:
        case 1:
        case 2:
        case 3:
        case 4: emit("LAY(%u %u %u)", some_kind(), first, count); return;
        case 5:
        case 6:
        case 7:
        case 8: emit("TOUCH(%u %u %u)", first, count, below(200)); return;
        case 9:
        case 10:
        case 11: emit("READ(%u %u)", first, count); return;
        case 12:
        case 13: emit("PROTECT(%u %u %u)", first, count, OF(0, 1, 3, 3, 2)); return;
        case 14: emit("DROP(%u %u)", first, count); return;
        default:
            if (one_in(4)) emit("FORK(%u %u)", first, count);
            return;
    }
}

static void generate_limit(void)
{
    unsigned const pages = OF(0, 1, 2, 3, 5, 8, 16, 32, 64, 100, 100, 100);
    unsigned const bytes = OF(0, 0, 1, 4095);
    if (one_in(3))
        emit("IPC_LOCK(%u)", below(2));
    else
        emit("LIMIT(%u %u)", pages, bytes);
}

#endif
