/* A block of a stream, by seed and number. */
#ifndef PINFOLD_ORACLE_RANDOM_GENERATE_H
#define PINFOLD_ORACLE_RANDOM_GENERATE_H
#include "random/generate_dma.h"
#include "random/generate_files.h"
#include "random/generate_memory.h"
#include "random/generate_type1.h"

static void generate_one(void)
{
    unsigned const dice = below(1000);
    if (dice < 400)
        generate_map();
    else if (dice < 640)
        generate_unmap();
    else if (dice < 648)
        generate_unmap_all();
    else if (dice < 720)
        generate_dirty();
    else if (dice < 760)
        generate_vaddr();
    else if (dice < 840)
        generate_question();
    else if (dice < 955)
        generate_memory();
    else if (dice < 980)
        generate_limit();
    else if (dice < 999)
        generate_files();
    else
        generate_dma();
}

static void generate(uint64_t seed, uint64_t block)
{
    /* Both are stirred: starts that lie a multiple of next()'s step apart would give one stream,
     * shifted. */
    chance_state = seed;
    chance_state = next() + block;
    chance_state = next();
    next();
    line_count = 0;
    believed_count = 0;
    usual_type = one_in(4) ? 1 : 3;
    with_bars = one_in(3);
    emit("IPC_LOCK(%u)", below(2));
    attach(0, 0, usual_type);
    if (one_in(3)) attach(1, 1, OF(1, 3));
    if (one_in(4)) emit("OPEN_DEVICE(0)");
    emit("LAY(0 0 64)");
    for (int i = 0; i < 6; ++i) {
        unsigned const kind = some_kind();
        unsigned const first = below(kAreaPages);
        emit("LAY(%u %u %u)", kind, first, 1 + below(12));
    }
    while (line_count < kBlock) generate_one();
}

#endif
