/* Containers and groups that are opened, joined, parted and closed. */
#ifndef PINFOLD_ORACLE_RANDOM_GENERATE_FILES_H
#define PINFOLD_ORACLE_RANDOM_GENERATE_FILES_H
#include "random/block.h"

static void attach(unsigned container, unsigned group, unsigned type)
{
    emit("OPEN_CONTAINER(%u)", container);
    emit("OPEN_GROUP(%u)", group);
    emit("SET_CONTAINER(%u %u)", group, container);
    emit("SET_IOMMU(%u %u)", container, type);
}

static unsigned usual_type;

static void generate_files(void)
{
    unsigned const which = one_in(3) ? 0 : 1;
    unsigned const either = below(2);
    switch (below(12)) {
        case 0: emit("CLOSE_CONTAINER(%u)", which); break;
        case 1: emit("CLOSE_GROUP(%u)", which); break;
        case 2: emit("UNSET_CONTAINER(%u)", which); break;
        case 3: emit("SET_CONTAINER(%u %u)", either, below(5)); break;
        case 4: emit("SET_IOMMU(%u %u)", either, OF(0, 1, 2, 3, 3, 4, 7, 9, 10)); break;
        case 5: emit("OPEN_DEVICE(%u)", which); break;
        case 6: emit("CLOSE_DEVICE(%u)", which); break;
        case 7: emit("OPEN_GROUP(%u)", which); break;
        case 8: emit("SET_CONTAINER(1 0)"); break;
        case 9: attach(1, 1, OF(1, 3)); break;
        case 10: attach(0, 1, 3); break;
        default: emit("SET_CONTAINER(1 1)"); break;
    }
    if (!one_in(4)) attach(0, 0, usual_type);
}

#endif
