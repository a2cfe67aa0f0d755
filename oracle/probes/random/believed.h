/* What a stream believes to be mapped: what was asked for with good arguments. Whether it is there
 * nobody has looked, since what a block does never depends on outcomes. */
#ifndef PINFOLD_ORACLE_RANDOM_BELIEVED_H
#define PINFOLD_ORACLE_RANDOM_BELIEVED_H
#include "random/chance.h"

enum { kBelieved = 64 };

struct believed {
    unsigned anchor;
    int page;
    unsigned count;
    unsigned container;
};

static char const* const kAnchors[] = {"low", "hole", "next", "four", "top", "zero", "max"};
static struct believed believed[kBelieved];
static unsigned believed_count;

static void believe(struct believed mapping)
{
    if (believed_count == kBelieved) believed_count = kBelieved / 2;
    believed[believed_count++] = mapping;
}

static struct believed some_place(void)
{
    unsigned const anchor = OF(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 2, 3, 4, 5, 6);
    int page = (int)below(48);
    if (anchor == 1 || anchor == 4) page = (int)below(32) - 26;
    if (anchor == 2) page = (int)below(28) - 4;
    if (anchor == 6) page = -1 - (int)below(16);
    unsigned const count = one_in(6) ? 1 + below(40) : 1 + below(6);
    return (struct believed){anchor, page, count, one_in(8)};
}

/* Where to unmap or to ask: a believed mapping, a part of it, more than it, or anywhere. */
static struct believed target(void)
{
    if (believed_count == 0 || one_in(6)) return some_place();
    unsigned const index = below(believed_count);
    struct believed place = believed[index];
    unsigned const way = below(8);
    if (way < 4) {
        believed[index] = believed[--believed_count];
        return place;
    }
    if (way == 4) place.page += 1;
    if (way == 5 && place.count > 1) place.count -= 1;
    if (way >= 6) {
        unsigned const more = 1 + below(24);
        place.page -= (int)below(more);
        place.count += more;
    }
    return place;
}

#endif
