/* Calls of Type1, about half of them with bad arguments. */
#ifndef PINFOLD_ORACLE_RANDOM_GENERATE_TYPE1_H
#define PINFOLD_ORACLE_RANDOM_GENERATE_TYPE1_H
#include "random/block.h"
#include "random/operation.h"

static void generate_map(void)
{
    bool const bad = one_in(3);
    struct believed const place = some_place();
    char size[32];
    char vaddr[32];
    size_text(size, sizeof size, place, bad);
    unsigned const first = below(kAreaPages - (place.count < 20 ? place.count : 20));
    snprintf(vaddr, sizeof vaddr, "area:%u:%d", first, odd(bad));
    if (bad && one_in(8)) snprintf(vaddr, sizeof vaddr, "%s", one_in(2) ? "max:-1:0" : "zero:1:0");
    unsigned const flags =
        bad && one_in(4) ? OF(0, 4, 5, 7, 8, 11, 0x80000003, 16) : OF(1, 2, 3, 3, 3, 3);
    unsigned const argsz = bad && one_in(6) ? OF(0, 8, 16, 31, 33, 64, 0xffffffff) : 32;
    int const beside = odd(bad);
    emit("MAP_DMA(%u %u %u %s %s:%d:%d %s %u)", place.container, argsz, flags, vaddr,
         kAnchors[place.anchor], place.page, beside, size, where(bad));
    if (!bad) believe(place);
}

/* A new vaddr, mostly for what is believed there. */
static void generate_vaddr(void)
{
    struct believed const place =
        believed_count > 0 && !one_in(4) ? believed[below(believed_count)] : some_place();
    if (one_in(2))
        emit("UNMAP_DMA(%u 24 4 %s:%d:0 zero:%u:0 zero:1:0 8 0 0)", place.container,
             kAnchors[place.anchor], place.page, place.count);
    if (one_in(4)) return;
    unsigned const first = below(kAreaPages);
    int const vaddr_beside = odd(one_in(6));
    int const iova_beside = odd(one_in(8));
    unsigned const count = place.count + (one_in(6) ? 1 : 0);
    emit("MAP_DMA(%u 32 4 area:%u:%d %s:%d:%d zero:%u:0 0)", place.container, first, vaddr_beside,
         kAnchors[place.anchor], place.page, iova_beside, count);
}

static void generate_unmap(void)
{
    bool const bad = one_in(4);
    struct believed const place = target();
    bool const bitmap = one_in(8);
    unsigned const flags = bad && one_in(4) ? OF(2, 3, 5, 6, 7, 8, 0x80000000)
                           : bitmap         ? 1
                           : one_in(24)     ? 4
                                            : 0;
    char size[32];
    size_text(size, sizeof size, place, bad);
    unsigned const argsz = bad && one_in(5) ? OF(0, 16, 23, 24, 25, 47, 48, 56) : bitmap ? 48 : 24;
    int const beside = odd(bad);
    unsigned const pages = bad && one_in(6) ? below(3) : 1;
    unsigned const bytes = bitmap_bytes(place, bad);
    char const* const before = preset();
    unsigned const lies = bad && one_in(8) ? 4 : where(bad);
    emit("UNMAP_DMA(%u %u %u %s:%d:%d %s zero:%u:0 %u %s %u)", place.container, argsz, flags,
         kAnchors[place.anchor], place.page, beside, size, pages, bytes, before, lies);
}

static void generate_unmap_all(void)
{
    unsigned const container = below(2);
    unsigned const flags = one_in(5) ? 6 : 2;
    unsigned const iova = one_in(6);
    unsigned const size = one_in(6);
    emit("UNMAP_DMA(%u 24 %u zero:%u:0 zero:%u:0 zero:1:0 8 0 0)", container, flags, iova, size);
    believed_count = 0;
}

static void generate_dirty(void)
{
    bool const bad = one_in(4);
    struct believed const place = target();
    char size[32];
    size_text(size, sizeof size, place, bad);
    unsigned const flags = one_in(4)          ? OF(1, 1, 1, 2)
                           : bad && one_in(5) ? OF(0, 3, 5, 6, 8, 12)
                                              : 4;
    unsigned const argsz = bad && one_in(5) ? OF(0, 7, 8, 47, 56, 0xffffffff) : 48;
    int const beside = odd(bad);
    unsigned const pages = bad && one_in(6) ? below(3) : 1;
    unsigned const bytes = bitmap_bytes(place, bad);
    char const* const before = preset();
    unsigned const lies = bad && one_in(8) ? 4 : where(bad);
    emit("DIRTY_PAGES(%u %u %u %s:%d:%d %s zero:%u:0 %u %s %u)", place.container, argsz, flags,
         kAnchors[place.anchor], place.page, beside, size, pages, bytes, before, lies);
}

static void generate_question(void)
{
    unsigned const container = one_in(5);
    unsigned const group = below(2);
    unsigned const lies = where(one_in(3));
    switch (below(9)) {
        case 0:
            emit("GET_INFO(%u %u %u)", container,
                 OF(0, 15, 16, 17, 19, 20, 23, 24, 25, 56, 72, 84, 100, 104, 116, 120, 136, 500),
                 lies);
            return;
        case 1: emit("CHECK_EXTENSION(%u %u)", container, below(12)); return;
        case 2: emit("CHECK_EXTENSION(%u %u)", container, OF(4, 10, 10, 0xffffffff)); return;
        case 3: emit("GET_STATUS(%u %u)", group, OF(0, 4, 7, 8, 8, 8, 12)); return;
        case 4: emit("UNKNOWN(%u 0x%x)", container, 0x3b60 + below(32)); return;
        case 5:
        case 6: emit("AVAILABLE(%u)", container); return;
        default: emit("LOCKED()"); return;
    }
}

#endif
