/* An operation as text, and what its words stand for.
 *
 *     17 MAP_DMA(0 32 3 area:5:0 low:2:0 zero:4:0 0)
 *
 * is operation 17: in container 0, argsz 32, flags 3, from page 5 of the area, at two pages behind
 * the anchor "low", four pages, the structure in ordinary memory. A place is ANCHOR:PAGES:BYTES, so
 * that a list says the same for every page size. */
#ifndef PINFOLD_ORACLE_RANDOM_OPERATION_H
#define PINFOLD_ORACLE_RANDOM_OPERATION_H
#include "kinds.h"

enum { kContainers = 2, kGroups = 2, kAreaPages = 64, kBitmapWords = 16 };

static int containers[kContainers] = {-1, -1};
static int groups[kGroups] = {-1, -1};
static int devices[kGroups] = {-1, -1};
static struct memory area;
static unsigned char kind_of[kAreaPages]; /* what LAY put there */
static bool bar_laid;                     /* since the start of the block */
static struct iova_range ranges[16];
static unsigned range_count;

struct words {
    char name[32];
    unsigned number;
    unsigned count;
    char* word[12];
    char text[256];
};

static inline bool split(char const* line, struct words* words)
{
    int used = 0;
    words->count = 0;
    if (sscanf(line, "%u %31[A-Z_](%n", &words->number, words->name, &used) != 2 || used == 0)
        return false;
    snprintf(words->text, sizeof words->text, "%s", line + used);
    char* rest = words->text;
    rest[strcspn(rest, ")\n")] = '\0';
    while (words->count < 12 && *(rest += strspn(rest, " ")) != '\0') {
        words->word[words->count++] = rest;
        rest += strcspn(rest, " ");
        if (*rest != '\0') *rest++ = '\0';
    }
    return true;
}

/* Words that a shortened or mistyped line lacks are 0. */
static inline uint64_t plain(struct words const* words, unsigned index)
{
    return index < words->count ? strtoull(words->word[index], NULL, 0) : 0;
}

static inline uint64_t anchor(char const* name, uint64_t iova)
{
    if (strcmp(name, "area") == 0) return vaddr_of(area, 0);
    if (strcmp(name, "low") == 0) return kIova;
    if (strcmp(name, "four") == 0) return 4ull << 30;
    if (strcmp(name, "hole") == 0) return ranges[0].last + 1;
    if (strcmp(name, "next") == 0) return range_count > 1 ? ranges[1].start : ranges[0].start;
    if (strcmp(name, "top") == 0) return range_count > 0 ? ranges[range_count - 1].last + 1 : 0;
    if (strcmp(name, "wrap") == 0) return -iova;
    return 0; /* "zero", and "max" with pages below it */
}

/* iova: what "wrap" counts from. */
static inline uint64_t place(struct words const* words, unsigned index, uint64_t iova)
{
    char name[16] = "zero";
    long long pages = 0;
    long long bytes = 0;
    if (index < words->count)
        sscanf(words->word[index], "%15[a-z]:%lld:%lld", name, &pages, &bytes);
    return anchor(name, iova) + (uint64_t)pages * page() + (uint64_t)bytes;
}

static inline int at(int const* list, unsigned count, uint64_t index)
{
    return index < count ? list[index] : -1;
}

#endif
