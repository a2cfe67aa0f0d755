/* A block as it is made: lines, and arguments that are good or bad.
 *
 * In what follows, what is drawn gets a name before it is used: C leaves the order in which
 * arguments are evaluated to the compiler, and those of different machines differ. */
#ifndef PINFOLD_ORACLE_RANDOM_BLOCK_H
#define PINFOLD_ORACLE_RANDOM_BLOCK_H
#include <stdarg.h>
#include <stdio.h>
#include "random/believed.h"

enum { kBlock = 1000, kLine = 200 };

static char lines[kBlock + 64][kLine];
static unsigned line_count;

__attribute__((format(printf, 1, 2))) static void emit(char const* format, ...)
{
    char text[kLine - 8];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    snprintf(lines[line_count], kLine, "%u %s", line_count, text);
    ++line_count;
}

/* Bytes that spoil an alignment, most often none. */
static int odd(bool bad) { return bad && one_in(3) ? (int)OF(1, 8, 512, 2048, 4096) : 0; }

static unsigned where(bool bad) { return bad && one_in(6) ? OF(1, 2, 3) : 0; }

static void size_text(char* text, size_t room, struct believed place, bool bad)
{
    unsigned const way = bad ? below(12) : 11;
    if (way == 0)
        snprintf(text, room, "zero:0:0");
    else if (way == 1)
        snprintf(text, room, "wrap:%u:0", 1 + below(3));
    else if (way == 2)
        snprintf(text, room, "wrap:%u:512", below(3));
    else if (way == 3)
        snprintf(text, room, "max:-%u:0", 1 + below(8));
    else
        snprintf(text, room, "zero:%u:%d", place.count, odd(bad));
}

static unsigned bitmap_bytes(struct believed place, bool bad)
{
    unsigned const enough = (place.count + 63) / 64 * 8;
    return bad && one_in(4) ? OF(0, 1, 7, enough - 1, enough + 8, 0x10000001) : enough;
}

static char const* preset(void)
{
    return one_in(3) ? "0xffffffffffffffff" : one_in(3) ? "0x8421" : "0";
}

#endif
