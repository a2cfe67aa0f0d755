/* How a probe says what it found. */
#ifndef PINFOLD_ORACLE_PROBE_RESULTS_H
#define PINFOLD_ORACLE_PROBE_RESULTS_H
#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Prints "[rules] call = value or errno" and hands the value through. errno is that of the call: it
 * must be the last. */
__attribute__((format(printf, 3, 4))) static inline long check(char const* rules, long value,
                                                               char const* call, ...)
{
    int const error = errno;
    va_list arguments;
    va_start(arguments, call);
    printf("[%s] ", rules);
    vprintf(call, arguments);
    va_end(arguments);
    if (value < 0)
        printf(" = %s\n", strerrorname_np(error));
    else
        printf(" = %ld\n", value);
    errno = error;
    return value;
}

/* The same for what returns a descriptor, whose number says nothing. */
__attribute__((format(printf, 3, 4))) static inline int check_fd(char const* rules, int fd,
                                                                 char const* call, ...)
{
    int const error = errno;
    va_list arguments;
    va_start(arguments, call);
    printf("[%s] ", rules);
    vprintf(call, arguments);
    va_end(arguments);
    printf(" = %s\n", fd < 0 ? strerrorname_np(error) : "fd");
    errno = error;
    return fd;
}

__attribute__((format(printf, 2, 3))) static inline void note(char const* rules, char const* text,
                                                              ...)
{
    va_list arguments;
    va_start(arguments, text);
    printf("[%s] ", rules);
    vprintf(text, arguments);
    va_end(arguments);
    printf("\n");
}

static inline void heading(char const* text) { printf("== %s\n", text); }

/* What a probe cannot do without. */
static inline void need(bool fulfilled, char const* what)
{
    if (fulfilled) return;
    printf("cannot go on: %s: %s\n", what, strerrorname_np(errno));
    fflush(stdout);
    exit(1);
}

static inline uint64_t fnv1a(void const* data, size_t size, uint64_t hash)
{
    unsigned char const* const bytes = data;
    for (size_t i = 0; i < size; ++i) hash = (hash ^ bytes[i]) * 0x100000001b3u;
    return hash;
}
static uint64_t const kHashStart = 0xcbf29ce484222325u;

static inline void print_bytes(void const* data, size_t size)
{
    unsigned char const* const bytes = data;
    for (size_t i = 0; i < size; ++i) printf("%s%02x", i != 0 && i % 8 == 0 ? " " : "", bytes[i]);
    printf("\n");
}

#endif
