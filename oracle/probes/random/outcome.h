/* What an operation's outcome is written into. */
#ifndef PINFOLD_ORACLE_RANDOM_OUTCOME_H
#define PINFOLD_ORACLE_RANDOM_OUTCOME_H
#include "kinds.h"

static char outcome[512];

__attribute__((format(printf, 1, 2))) static inline void say(char const* format, ...)
{
    size_t const length = strlen(outcome);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(outcome + length, sizeof outcome - length, format, arguments);
    va_end(arguments);
}

static inline void say_result(long result)
{
    if (result < 0)
        say("%s", strerrorname_np(errno));
    else
        say("%ld", result);
}

static inline void say_fd(int fd) { say("%s", fd < 0 ? strerrorname_np(errno) : "fd"); }

#endif
