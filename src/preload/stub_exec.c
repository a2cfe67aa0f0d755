/* The part of the stub that stands before execve(2) and its like: a program that is started with an
 * environment of its own choice keeps Pinfold, and one that cannot take its library in is named at
 * the end of the run.
 *
 * Between vfork(2) and exec a child runs this in its parent's memory: nothing is allocated but on
 * the stack, and nothing is kept. */
#include <alloca.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "machine/run_names.h"
#include "preload/stub_parts.h"

extern char** environ;

/* What the launcher set, "NAME=value"; LD_PRELOAD only as far as it names our libraries. */
enum { kPreload, kState, kEngine, kMode, kHostPage, kVariables };
static char const* const kNames[kVariables] = {"LD_PRELOAD=", PINFOLD_ENV_STATE "=",
                                               PINFOLD_ENV_ENGINE "=", PINFOLD_ENV_MODE "=",
                                               PINFOLD_ENV_HOST_PAGE "="};
static char const* kept[kVariables];

static char const* find(char* const* environment, char const* name)
{
    size_t const length = strlen(name);
    for (; environment != NULL && *environment != NULL; ++environment)
        if (strncmp(*environment, name, length) == 0) return *environment;
    return NULL;
}

static bool is_ours(char const* library, size_t length)
{
    static char const kPrefix[] = "libpinfold";
    char const* name = library;
    for (size_t i = 0; i < length; ++i)
        if (library[i] == '/') name = library + i + 1;
    return (size_t)(library + length - name) >= sizeof kPrefix - 1 &&
           strncmp(name, kPrefix, sizeof kPrefix - 1) == 0;
}

/* Our libraries lead the list (launcher's order); theirs follow. */
static size_t length_of_ours(char const* list)
{
    size_t ours = 0;
    for (char const* at = list; *at != '\0';) {
        size_t const length = strcspn(at, ": ");
        if (!is_ours(at, length)) break;
        ours = (size_t)(at + length - list);
        at += length + (at[length] != '\0');
    }
    return ours;
}

void pinfold_remember_environment(void)
{
    for (int i = 0; i < kVariables; ++i) {
        char const* const found = find(environ, kNames[i]);
        if (found == NULL) continue;
        size_t const length = i == kPreload
                                  ? strlen(kNames[i]) + length_of_ours(found + strlen(kNames[i]))
                                  : strlen(found);
        kept[i] = strndup(found, length);
    }
}

/* ---- programs that take no library ---- */

static bool read_at(int fd, void* into, size_t size, off_t offset)
{
    return pread(fd, into, size, offset) == (ssize_t)size;
}

static char const* why_not_an_elf(int fd, Elf64_Ehdr const* header)
{
    if (header->e_ident[EI_CLASS] != ELFCLASS64 || header->e_machine != EM_X86_64)
        return "is not a 64-bit x86 program";
    for (unsigned i = 0; i < header->e_phnum; ++i) {
        Elf64_Phdr segment;
        if (!read_at(fd, &segment, sizeof segment,
                     (off_t)(header->e_phoff + (Elf64_Off)i * header->e_phentsize)))
            return NULL;
        if (segment.p_type == PT_INTERP) return NULL;
    }
    return "is statically linked";
}

/* Why the program behind `fd` will not have us; NULL: it will, or it is no program at all. */
static char const* why_not(int fd)
{
    struct stat status;
    Elf64_Ehdr header;
    if (fstat(fd, &status) != 0 || !S_ISREG(status.st_mode)) return NULL;
    if ((status.st_mode & S_ISUID) != 0 && status.st_uid != geteuid()) return "is setuid";
    if ((status.st_mode & (S_ISGID | S_IXGRP)) == (S_ISGID | S_IXGRP) && status.st_gid != getegid())
        return "is setgid";
    if (geteuid() != 0 && fgetxattr(fd, "security.capability", NULL, 0) > 0)
        return "has file capabilities";
    if (!read_at(fd, &header, sizeof header, 0) || memcmp(header.e_ident, ELFMAG, SELFMAG) != 0)
        return NULL;
    return why_not_an_elf(fd, &header);
}

static int open_quietly(char const* path, int flags)
{
    return openat(AT_FDCWD, path, flags | O_CLOEXEC);
}

static void tell(char const* path, char const* why)
{
    char line[1024];
    char log[512];
    if (kept[kState] == NULL) return;
    char const* const state = kept[kState] + strlen(kNames[kState]);
    int const length =
        snprintf(line, sizeof line,
                 "%s %s: Pinfold's library is not in it, and VFIO calls of it fail\n", path, why);
    if (length <= 0 || (size_t)length >= sizeof line ||
        (size_t)snprintf(log, sizeof log, "%s/" PINFOLD_FILE_LOG, state) >= sizeof log)
        return;
    int const fd = open_quietly(log, O_WRONLY | O_APPEND);
    if (fd < 0) return;
    (void)!write(fd, line, (size_t)length);
    (void)close(fd);
}

static void look_at(char const* path)
{
    int const saved = errno;
    int const fd = path == NULL ? -1 : open_quietly(path, O_RDONLY);
    if (fd >= 0) {
        char const* const why = why_not(fd);
        if (why != NULL) tell(path, why);
        (void)close(fd);
    }
    errno = saved;
}

/* As execvp(3) searches. */
static void look_in_path(char const* name)
{
    if (name == NULL || strchr(name, '/') != NULL) {
        look_at(name);
        return;
    }
    char const* list = getenv("PATH");
    char path[4096];
    for (list = list != NULL ? list : "/bin:/usr/bin"; *list != '\0';) {
        int const length = (int)strcspn(list, ":");
        int const size =
            snprintf(path, sizeof path, "%.*s%s%s", length, list, length ? "/" : "", name);
        if (size > 0 && (size_t)size < sizeof path && access(path, X_OK) == 0) {
            look_at(path);
            return;
        }
        list += length + (list[length] != '\0');
    }
}

/* ---- environments ---- */

static size_t count_of(char* const* list)
{
    size_t count = 0;
    while (list != NULL && list[count] != NULL) ++count;
    return count;
}

static bool has_us(char const* preload)
{
    return preload != NULL && length_of_ours(preload + strlen(kNames[kPreload])) != 0;
}

static size_t room_for(char* const* environment)
{
    char const* const theirs = find(environment, kNames[kPreload]);
    return (count_of(environment) + kVariables + 1) * sizeof(char*) +
           (kept[kPreload] != NULL ? strlen(kept[kPreload]) : 0) +
           (theirs != NULL ? strlen(theirs) : 0) + 2;
}

/* `environment` with what the launcher set, made in `room`; itself where it has all of it. */
static char* const* with_us(char* const* environment, void* room)
{
    if (kept[kState] == NULL || kept[kPreload] == NULL) return environment;
    char const* const theirs = find(environment, kNames[kPreload]);
    bool complete = has_us(theirs);
    for (int i = kState; i < kVariables; ++i)
        complete = complete && (kept[i] == NULL || find(environment, kNames[i]) != NULL);
    if (complete) return environment;

    char** const made = room;
    size_t count = 0;
    for (char* const* at = environment; at != NULL && *at != NULL; ++at)
        if (*at != theirs) made[count++] = *at;
    for (int i = kState; i < kVariables; ++i)
        if (kept[i] != NULL && find(environment, kNames[i]) == NULL) made[count++] = (char*)kept[i];
    char* const preload = (char*)(made + count_of(environment) + kVariables + 1);
    made[count++] = preload;
    made[count] = NULL;
    if (has_us(theirs)) {
        strcpy(preload, theirs);
    } else {
        strcpy(preload, kept[kPreload]);
        char const* const list = theirs != NULL ? theirs + strlen(kNames[kPreload]) : "";
        if (*list != '\0') strcat(strcat(preload, ":"), list);
    }
    return made;
}

#define WITH_US(environment) with_us(environment, alloca(room_for(environment)))

/* ---- the calls ---- */

int execve(char const* path, char* const* arguments, char* const* environment)
{
    PINFOLD_NEXT(execve);
    if (kept[kState] == NULL) return next(path, arguments, environment);
    look_at(path);
    return next(path, arguments, WITH_US(environment));
}

int execv(char const* path, char* const* arguments) { return execve(path, arguments, environ); }

int execvpe(char const* name, char* const* arguments, char* const* environment)
{
    PINFOLD_NEXT(execvpe);
    if (kept[kState] == NULL) return next(name, arguments, environment);
    look_in_path(name);
    return next(name, arguments, WITH_US(environment));
}

int execvp(char const* name, char* const* arguments) { return execvpe(name, arguments, environ); }

int fexecve(int fd, char* const* arguments, char* const* environment)
{
    PINFOLD_NEXT(fexecve);
    if (kept[kState] == NULL) return next(fd, arguments, environment);
    char const* const why = why_not(fd);
    if (why != NULL) tell(arguments[0] != NULL ? arguments[0] : "", why);
    return next(fd, arguments, WITH_US(environment));
}

/* The arguments of execl(3) and its like, up to the NULL. */
#define COLLECT(first, rest, array)                            \
    size_t count_ = 1;                                         \
    va_list counting_;                                         \
    va_copy(counting_, rest);                                  \
    while (va_arg(counting_, char*) != NULL) ++count_;         \
    va_end(counting_);                                         \
    char** const array = alloca((count_ + 1) * sizeof(char*)); \
    array[0] = (char*)(first);                                 \
    for (size_t i_ = 1; i_ <= count_; ++i_) array[i_] = va_arg(rest, char*)

int execl(char const* path, char const* first, ...)
{
    va_list rest;
    va_start(rest, first);
    COLLECT(first, rest, arguments);
    va_end(rest);
    return execve(path, arguments, environ);
}

int execlp(char const* name, char const* first, ...)
{
    va_list rest;
    va_start(rest, first);
    COLLECT(first, rest, arguments);
    va_end(rest);
    return execvpe(name, arguments, environ);
}

int execle(char const* path, char const* first, ...)
{
    va_list rest;
    va_start(rest, first);
    COLLECT(first, rest, arguments);
    char* const* const environment = va_arg(rest, char**);
    va_end(rest);
    return execve(path, arguments, environment);
}

int posix_spawn(pid_t* pid, char const* path, posix_spawn_file_actions_t const* actions,
                posix_spawnattr_t const* attributes, char* const* arguments,
                char* const* environment)
{
    PINFOLD_NEXT(posix_spawn);
    if (kept[kState] == NULL) return next(pid, path, actions, attributes, arguments, environment);
    look_at(path);
    return next(pid, path, actions, attributes, arguments, WITH_US(environment));
}

int posix_spawnp(pid_t* pid, char const* name, posix_spawn_file_actions_t const* actions,
                 posix_spawnattr_t const* attributes, char* const* arguments,
                 char* const* environment)
{
    PINFOLD_NEXT(posix_spawnp);
    if (kept[kState] == NULL) return next(pid, name, actions, attributes, arguments, environment);
    look_in_path(name);
    return next(pid, name, actions, attributes, arguments, WITH_US(environment));
}
