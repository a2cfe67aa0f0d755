/* Transfers by edu, which has a buffer of 4096 bytes at 0x40000. */
#ifndef PINFOLD_ORACLE_RANDOM_DMA_H
#define PINFOLD_ORACLE_RANDOM_DMA_H
#include "random/faults.h"

static inline void edu_transfer(unsigned char volatile* bar, uint64_t source, uint64_t destination,
                                uint64_t count, uint64_t direction)
{
    *(uint64_t volatile*)(bar + 0x80) = source;
    *(uint64_t volatile*)(bar + 0x88) = destination;
    *(uint64_t volatile*)(bar + 0x90) = count;
    *(uint64_t volatile*)(bar + 0x98) = 1 | direction;
    while ((*(uint64_t volatile*)(bar + 0x98) & 1) != 0) usleep(2000);
}

/* What the device got, in pieces of 8 bytes; a piece that did not translate is 0 from QEMU's
 * devices and all ones by PCI. */
static inline uint64_t pieces_hash(unsigned char const* seen, uint64_t count)
{
    uint64_t hash = kHashStart;
    for (uint64_t i = 0; i + 8 <= count; i += 8) {
        uint64_t piece;
        memcpy(&piece, seen + i, sizeof piece);
        if (piece == ~0ull) piece = 0;
        hash = fnv1a(&piece, sizeof piece, hash);
    }
    return hash;
}

/* The device reads from one place, what it got goes out through a mapping of its own; then it
 * writes a pattern to another. Left out where a BAR may be mapped: a device that writes to its own
 * registers is nobody's rule. */
static inline void op_dma(struct words const* words)
{
    static struct memory window;
    uint64_t const own = 0x400 * page();
    uint64_t const count = plain(words, 3) % 2049; /* a full 4096 stop QEMU */
    int const device = at(devices, kGroups, plain(words, 0));
    if (bar_laid) return say("left out");
    if (window.base == NULL) window = touched("window", (4095 + page()) / page());
    int const mapped = map_dma(containers[0], kBoth, vaddr_of(window, 0), own, window.size);
    if (mapped != 0) return say_result(mapped);
    note_mapping(own, window.size, kBoth);
    unsigned char volatile* const bar =
        mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_SHARED, device, 0);
    if (bar == MAP_FAILED) {
        say_result(-1);
    } else {
        uint64_t const source = place(words, 1, 0);
        uint64_t const destination = place(words, 2, 0);
        memset(window.base, 0x5a, 4096);
        edu_transfer(bar, source, 0x40000, count, 0);
        edu_transfer(bar, 0x40000, own, count, 2);
        say("%016" PRIx64, pieces_hash(window.base, count));
        /* Where the window stays as it was, the device is in another container than 0. */
        bool const is_elsewhere =
            window.base[0] == 0x5a && memcmp(window.base, window.base + 1, count - 1) == 0;
        unsigned const here = is_elsewhere ? 0
                                           : lost_pieces(source, count, window.base) +
                                                 lost_pieces(destination, count, NULL);
        if (is_elsewhere) ++unsure;
        lost += here;
        say(is_elsewhere ? " elsewhere" : " lost %u", here);
        for (unsigned i = 0; i < 4096; ++i) window.base[i] = (unsigned char)(i * 3 + count);
        edu_transfer(bar, own, 0x40000, count, 0);
        edu_transfer(bar, 0x40000, destination, count, 2);
        munmap((void*)(uintptr_t)bar, 65536);
    }
    uint64_t size = window.size;
    say(" %d", unmap_dma(containers[0], 0, own, &size));
}

#endif
