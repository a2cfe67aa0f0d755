/* Chance, by a seed. */
#ifndef PINFOLD_ORACLE_RANDOM_CHANCE_H
#define PINFOLD_ORACLE_RANDOM_CHANCE_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

static uint64_t chance_state;

static uint64_t next(void)
{
    chance_state += 0x9e3779b97f4a7c15;
    uint64_t z = chance_state;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
}

static unsigned below(unsigned count) { return (unsigned)(next() >> 33) % count; }
static bool one_in(unsigned count) { return below(count) == 0; }
static unsigned of(unsigned const* list, size_t count) { return list[below((unsigned)count)]; }
#define OF(...) \
    of((unsigned const[]){__VA_ARGS__}, sizeof((unsigned const[]){__VA_ARGS__}) / sizeof(unsigned))

#endif
