/* What the random streams are made of: run() carries an operation out, which is a line of text, and
 * hands back its outcome. */
#ifndef PINFOLD_ORACLE_RANDOM_OPERATIONS_H
#define PINFOLD_ORACLE_RANDOM_OPERATIONS_H
#include "random/dma.h"
#include "random/files.h"
#include "random/memory.h"
#include "random/type1.h"

static struct {
    char const* name;
    void (*run)(struct words const* words);
} const kOperations[] = {{"MAP_DMA", op_map},
                         {"UNMAP_DMA", op_unmap},
                         {"DIRTY_PAGES", op_dirty},
                         {"GET_INFO", op_get_info},
                         {"AVAILABLE", op_available},
                         {"LOCKED", op_locked},
                         {"LAY", op_lay},
                         {"TOUCH", op_touch},
                         {"READ", op_read},
                         {"PROTECT", op_protect},
                         {"DROP", op_drop},
                         {"FORK", op_fork},
                         {"LIMIT", op_limit},
                         {"IPC_LOCK", op_ipc_lock},
                         {"CHECK_EXTENSION", op_check_extension},
                         {"UNKNOWN", op_unknown},
                         {"GET_STATUS", op_get_status},
                         {"OPEN_CONTAINER", op_open_container},
                         {"CLOSE_CONTAINER", op_close_container},
                         {"OPEN_GROUP", op_open_group},
                         {"CLOSE_GROUP", op_close_group},
                         {"SET_CONTAINER", op_set_container},
                         {"UNSET_CONTAINER", op_unset_container},
                         {"SET_IOMMU", op_set_iommu},
                         {"OPEN_DEVICE", op_open_device},
                         {"CLOSE_DEVICE", op_close_device},
                         {"DMA", op_dma}};

/* The outcome, which is valid until the next call; NULL for a line that is no operation. */
static inline char const* run(char const* line)
{
    struct words words;
    if (!split(line, &words)) return NULL;
    outcome[0] = '\0';
    for (size_t i = 0; i < sizeof kOperations / sizeof kOperations[0]; ++i)
        if (strcmp(words.name, kOperations[i].name) == 0) {
            kOperations[i].run(&words);
            return outcome;
        }
    return NULL;
}

static inline void start_from_nothing(void)
{
    for (int i = 0; i < kGroups; ++i) {
        if (devices[i] >= 0) closed(&devices[i]);
        if (groups[i] >= 0) closed(&groups[i]);
    }
    for (int i = 0; i < kContainers; ++i)
        if (containers[i] >= 0) closed(&containers[i]);
    if (area.base == NULL) area = reserved("area", kAreaPages);
    lay_anonymous(area.base, area.size, PROT_NONE, MAP_PRIVATE);
    memset(kind_of, 0, sizeof kind_of);
    bar_laid = false;
    taken_count = 0;
    lost = 0;
    unsure = 0;
    range_count = 0;
    memset(ranges, 0, sizeof ranges);
    ipc_lock(true);
    memlock_limit(kAreaPages * page());
}

#endif
