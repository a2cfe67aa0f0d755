/* Transfers, most of them between places that were just mapped. */
#ifndef PINFOLD_ORACLE_RANDOM_GENERATE_DMA_H
#define PINFOLD_ORACLE_RANDOM_GENERATE_DMA_H
#include "random/block.h"
#include "random/operation.h"

/* Memory that a device can reach, whatever was there before. */
static struct believed generate_target(void)
{
    struct believed const place = {0, (int)below(48), 1 + below(3), 0};
    unsigned const kind = OF(0, 0, 1, 7, 9, 11, 19);
    unsigned const first = below(kAreaPages - 3);
    unsigned const flags = OF(1, 2, 3, 3, 3);
    emit("LAY(%u %u %u)", kind, first, place.count);
    emit("UNMAP_DMA(0 24 0 low:%d:0 zero:%u:0 zero:1:0 8 0 0)", place.page, place.count);
    emit("MAP_DMA(0 32 %u area:%u:0 low:%d:0 zero:%u:0 0)", flags, first, place.page, place.count);
    believe(place);
    return place;
}

/* Where QEMU's AMD-Vi would forget the upper bits of the address. */
static bool is_beyond(struct believed place)
{
    bool const is_top = strcmp(kAnchors[place.anchor], "top") == 0;
    return strcmp(kAnchors[place.anchor], "max") == 0 || (is_top && place.page >= 0);
}

static struct believed dma_place(void)
{
    if (!one_in(4)) return generate_target();
    struct believed const place = target();
    return is_beyond(place) ? generate_target() : place;
}

static void generate_dma(void)
{
    struct believed const from = dma_place();
    struct believed const to = dma_place();
    emit("OPEN_DEVICE(0)");
    unsigned const from_offset = 8 * below(200);
    unsigned const to_offset = 8 * below(200);
    unsigned const bytes = 8 * (1 + below(250));
    emit("DMA(0 %s:%d:%u %s:%d:%u %u)", kAnchors[from.anchor], from.page, from_offset,
         kAnchors[to.anchor], to.page, to_offset, bytes);
    emit("READ(0 %u)", kAreaPages);
    emit("CLOSE_DEVICE(0)");
}

#endif
