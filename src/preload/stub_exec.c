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
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#include "machine/run_names.h"
#include "preload/abi.h"
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

/* Our libraries stand together in the list, wherever theirs are. */
static char const* find_ours(char const* list, size_t* size)
{
    char const* start = NULL;
    *size = 0;
    for (char const* at = list; *at != '\0';) {
        size_t const length = strcspn(at, ": ");
        bool const ours = is_ours(at, length);
        if (start != NULL && !ours) break;
        if (ours && start == NULL) start = at;
        if (ours) *size = (size_t)(at + length - start);
        at += length + (at[length] != '\0');
    }
    return start;
}

void pinfold_remember_environment(void)
{
    for (int i = 0; i < kVariables; ++i) {
        char const* const found = find(environ, kNames[i]);
        if (found == NULL) continue;
        if (i != kPreload) {
            kept[i] = strdup(found);
            continue;
        }
        size_t size = 0;
        char const* const ours = find_ours(found + strlen(kNames[i]), &size);
        if (ours == NULL) continue;
        char* const made = malloc(strlen(kNames[i]) + size + 1);
        if (made != NULL) (void)sprintf(made, "%s%.*s", kNames[i], (int)size, ours);
        kept[i] = made;
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
    PINFOLD_UNCANCELLED;
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
    PINFOLD_UNCANCELLED;
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

/* False: nothing there can be executed, and an exec of it will fail. */
static bool look_at(char const* path)
{
    PINFOLD_UNCANCELLED;
    int const saved = errno;
    struct stat status;
    bool const can_be = path != NULL && faccessat(AT_FDCWD, path, X_OK, AT_EACCESS) == 0 &&
                        stat(path, &status) == 0 && S_ISREG(status.st_mode);
    int const fd = can_be ? open_quietly(path, O_RDONLY) : -1;
    if (fd >= 0) {
        char const* const why = why_not(fd);
        if (why != NULL) tell(path, why);
        (void)close(fd);
    }
    errno = saved;
    return can_be;
}

/* As execveat(2) names it. */
static void look_at_one_in(int directory, char const* path)
{
    PINFOLD_UNCANCELLED;
    bool const itself = path == NULL || path[0] == '\0';
    int const fd = itself ? directory : openat(directory, path, O_RDONLY | O_CLOEXEC);
    char const* const why = fd >= 0 ? why_not(fd) : NULL;
    if (why != NULL) tell(itself ? "" : path, why);
    if (!itself && fd >= 0) (void)close(fd);
}

/* As execvp(3) searches. */
static bool look_in_path(char const* name)
{
    if (name == NULL || strchr(name, '/') != NULL) return look_at(name);
    char const* list = getenv("PATH");
    char path[4096];
    for (list = list != NULL ? list : "/bin:/usr/bin"; *list != '\0';) {
        int const length = (int)strcspn(list, ":");
        int const size =
            snprintf(path, sizeof path, "%.*s%s%s", length, list, length ? "/" : "", name);
        if (size > 0 && (size_t)size < sizeof path && look_at(path)) return true;
        list += length + (list[length] != '\0');
    }
    return false;
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
    size_t size = 0;
    return preload != NULL && find_ours(preload + strlen(kNames[kPreload]), &size) != NULL;
}

static size_t room_for(char* const* environment)
{
    char const* const theirs = find(environment, kNames[kPreload]);
    return (count_of(environment) + kVariables + 2) * sizeof(char*) +
           (kept[kPreload] != NULL ? strlen(kept[kPreload]) : 0) +
           (theirs != NULL ? strlen(theirs) : 0) + 2;
}

/* `environment` with what the launcher set and with `held` ("NAME=value"; NULL: none), made in
 * `room`; itself where it has all of it. */
static char* const* with_us(char* const* environment, char* held, void* room)
{
    if (kept[kState] == NULL || kept[kPreload] == NULL) return environment;
    char const* const theirs = find(environment, kNames[kPreload]);
    bool complete = has_us(theirs) && held == NULL;
    for (int i = kState; i < kVariables; ++i)
        complete = complete && (kept[i] == NULL || find(environment, kNames[i]) != NULL);
    if (complete) return environment;

    char** const made = room;
    size_t count = 0;
    for (char* const* at = environment; at != NULL && *at != NULL; ++at)
        if (*at != theirs) made[count++] = *at;
    for (int i = kState; i < kVariables; ++i)
        if (kept[i] != NULL && find(environment, kNames[i]) == NULL) made[count++] = (char*)kept[i];
    if (held != NULL) made[count++] = held;
    char* const preload = (char*)(made + count_of(environment) + kVariables + 2);
    made[count++] = preload;
    made[count] = NULL;
    if (has_us(theirs)) {
        strcpy(preload, theirs);
    } else {
        char const* const ours = kept[kPreload] + strlen(kNames[kPreload]);
        bool const some = theirs != NULL && theirs[strlen(kNames[kPreload])] != '\0';
        strcpy(preload, some ? theirs : kNames[kPreload]);
        if (some) strcat(preload, ":");
        strcat(preload, ours);
    }
    return made;
}

#define WITH_US(environment, succession) \
    with_us(environment, held_variable(succession), alloca(room_for(environment)))

/* ---- descriptors of ours that the program that begins has ---- */

struct succession {
    struct pinfold_engine const* engine; /* NULL: not loaded */
    bool borrowed;
    char held[sizeof PINFOLD_ENV_HELD + PINFOLD_HELD_ROOM]; /* "NAME=value" */
};

static char* value_of_held(struct succession* succession)
{
    memcpy(succession->held, PINFOLD_ENV_HELD "=", sizeof PINFOLD_ENV_HELD);
    return succession->held + sizeof PINFOLD_ENV_HELD;
}

static char* held_variable(struct succession* succession)
{
    bool const any = succession->engine != NULL && succession->held[sizeof PINFOLD_ENV_HELD] != 0;
    return any ? succession->held : NULL;
}

static void before_exec(struct succession* succession)
{
    succession->engine = pinfold_succession(&succession->borrowed);
    if (succession->engine == NULL) return;
    char* const value = value_of_held(succession);
    if (succession->borrowed)
        succession->engine->before_borrowed_exec(value, PINFOLD_HELD_ROOM);
    else
        succession->engine->before_exec(value, PINFOLD_HELD_ROOM);
}

/* -1, which is what an exec returns. */
static int exec_failed(struct succession* succession)
{
    int const saved = errno;
    if (succession->engine != NULL && succession->borrowed)
        succession->engine->borrowed_exec_failed();
    else if (succession->engine != NULL)
        succession->engine->exec_failed();
    errno = saved;
    return -1;
}

static void before_spawn(struct succession* succession, posix_spawn_file_actions_t const* actions)
{
    succession->engine = pinfold_current_engine();
    if (succession->engine == NULL) return;
    succession->engine->share();
    succession->engine->before_spawn(actions != NULL, value_of_held(succession), PINFOLD_HELD_ROOM);
}

static void after_spawn(struct succession* succession)
{
    if (succession->engine != NULL) succession->engine->after_spawn();
}

/* For what runs programs in ways of its own: they are known by their first call. */
static void share(void)
{
    struct pinfold_engine const* const engine = pinfold_current_engine();
    if (engine != NULL) engine->share();
}

/* ---- the calls ---- */

int execve(char const* path, char* const* arguments, char* const* environment)
{
    PINFOLD_NEXT(execve);
    if (kept[kState] == NULL || !look_at(path)) return next(path, arguments, environment);
    struct succession succession;
    before_exec(&succession);
    (void)next(path, arguments, WITH_US(environment, &succession));
    return exec_failed(&succession);
}

int execv(char const* path, char* const* arguments) { return execve(path, arguments, environ); }

int execvpe(char const* name, char* const* arguments, char* const* environment)
{
    PINFOLD_NEXT(execvpe);
    if (kept[kState] == NULL || !look_in_path(name)) return next(name, arguments, environment);
    struct succession succession;
    before_exec(&succession);
    (void)next(name, arguments, WITH_US(environment, &succession));
    return exec_failed(&succession);
}

int execvp(char const* name, char* const* arguments) { return execvpe(name, arguments, environ); }

int fexecve(int fd, char* const* arguments, char* const* environment)
{
    PINFOLD_NEXT(fexecve);
    if (kept[kState] == NULL) return next(fd, arguments, environment);
    char const* const why = why_not(fd);
    if (why != NULL) tell(arguments[0] != NULL ? arguments[0] : "", why);
    struct succession succession;
    before_exec(&succession);
    (void)next(fd, arguments, WITH_US(environment, &succession));
    return exec_failed(&succession);
}

int execveat(int directory, char const* path, char* const* arguments, char* const* environment,
             int flags)
{
    PINFOLD_NEXT(execveat);
    if (kept[kState] == NULL) return next(directory, path, arguments, environment, flags);
    look_at_one_in(directory, path);
    struct succession succession;
    before_exec(&succession);
    (void)next(directory, path, arguments, WITH_US(environment, &succession), flags);
    return exec_failed(&succession);
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
    (void)look_at(path);
    struct succession succession;
    before_spawn(&succession, actions);
    int const result =
        next(pid, path, actions, attributes, arguments, WITH_US(environment, &succession));
    after_spawn(&succession);
    return result;
}

int posix_spawnp(pid_t* pid, char const* name, posix_spawn_file_actions_t const* actions,
                 posix_spawnattr_t const* attributes, char* const* arguments,
                 char* const* environment)
{
    PINFOLD_NEXT(posix_spawnp);
    if (kept[kState] == NULL) return next(pid, name, actions, attributes, arguments, environment);
    (void)look_in_path(name);
    struct succession succession;
    before_spawn(&succession, actions);
    int const result =
        next(pid, name, actions, attributes, arguments, WITH_US(environment, &succession));
    after_spawn(&succession);
    return result;
}

int system(char const* command)
{
    PINFOLD_NEXT(system);
    share();
    return next(command);
}

FILE* popen(char const* command, char const* mode)
{
    PINFOLD_NEXT(popen);
    share();
    return next(command, mode);
}

/* vfork(2) returns twice, and its child must not return into a frame that it has left: the return
 * address is kept in a register that the system call leaves alone, and pushed again behind it. In
 * the parent, what belongs to the child is taken back before it returns. */
__attribute__((used)) static void before_vfork(void)
{
    struct pinfold_engine const* const engine = pinfold_current_engine();
    if (engine != NULL) engine->before_vfork();
}

__attribute__((used)) static void after_vfork(void)
{
    struct pinfold_engine const* const engine = pinfold_current_engine();
    if (engine != NULL) engine->after_vfork();
}

__attribute__((used)) static long set_errno(long error)
{
    errno = (int)-error;
    return -1;
}

__asm__(
    "    .text\n"
    "    .globl vfork\n"
    "    .type vfork, @function\n"
    "vfork:\n"
    "    .cfi_startproc\n"
    "    endbr64\n"
    "    subq $8, %rsp\n"
    "    .cfi_adjust_cfa_offset 8\n"
    "    call before_vfork\n"
    "    addq $8, %rsp\n"
    "    .cfi_adjust_cfa_offset -8\n"
    "    popq %rdi\n"
    "    .cfi_adjust_cfa_offset -8\n"
    "    .cfi_register %rip, %rdi\n"
    "    movl $58, %eax\n" /* SYS_vfork */
    "    syscall\n"
    "    pushq %rdi\n"
    "    .cfi_adjust_cfa_offset 8\n"
    "    .cfi_rel_offset %rip, 0\n"
    "    testq %rax, %rax\n"
    "    jz 1f\n"
    "    pushq %rax\n"
    "    .cfi_adjust_cfa_offset 8\n"
    "    call after_vfork\n"
    "    popq %rax\n"
    "    .cfi_adjust_cfa_offset -8\n"
    "    testq %rax, %rax\n"
    "    js 2f\n"
    "1:  ret\n"
    "2:  movq %rax, %rdi\n"
    "    jmp set_errno\n"
    "    .cfi_endproc\n"
    "    .size vfork, . - vfork\n"
    "    .globl __vfork\n"
    "    .set __vfork, vfork\n");

/* ---- the end ---- */

static void before_exit(void)
{
    struct pinfold_engine const* const engine = pinfold_current_engine();
    if (engine != NULL) engine->before_exit();
}

/* A signal handler may call _exit(2) amid malloc() or what else before_exit() waits for. Then the
 * process ends all the same, and without a keeper: by a thread that the C library does not know,
 * which shares the thread storage of the one that waits and so makes nothing but system calls. */
enum { kPatience = 10 }; /* seconds: longer than a keeper that comes to be takes */

static long system_call(long number, long a, long b, long c, long d)
{
    register long fourth __asm__("r10") = d;
    __asm__ volatile("syscall"
                     : "+a"(number)
                     : "D"(a), "S"(b), "d"(c), "r"(fourth)
                     : "rcx", "r11", "memory");
    return number;
}

static int end_at_last(void* status)
{
    struct timespec left = {kPatience, 0};
    while (system_call(SYS_nanosleep, (long)&left, (long)&left, 0, 0) == -EINTR) {
    }
    (void)system_call(SYS_exit_group, *(int*)status, 0, 0, 0);
    return 0;
}

/* `status` outlives the thread. */
static void end_before_long(int* status)
{
    static _Alignas(16) char stack[8192];
    static int taken;
    if (pinfold_current_engine() == NULL || __atomic_exchange_n(&taken, 1, __ATOMIC_ACQ_REL) != 0)
        return;
    uint64_t const all = ~(uint64_t)0;
    uint64_t before = 0;
    (void)system_call(SYS_rt_sigprocmask, SIG_SETMASK, (long)&all, (long)&before, sizeof all);
    (void)clone(end_at_last, stack + sizeof stack,
                CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM,
                status);
    (void)system_call(SYS_rt_sigprocmask, SIG_SETMASK, (long)&before, 0, sizeof before);
}

void _exit(int status)
{
    PINFOLD_NEXT(_exit);
    end_before_long(&status);
    before_exit();
    next(status);
    abort(); /* not reached */
}

void _Exit(int status) { _exit(status); }

/* The C library's ends the parent in ways of its own. */
int daemon(int stay, int keep_open)
{
    pid_t const child = fork();
    if (child < 0) return -1;
    if (child > 0) _exit(0);
    if (setsid() < 0) return -1;
    if (!stay) (void)!chdir("/");
    if (keep_open) return 0;
    int const null = open("/dev/null", O_RDWR);
    if (null < 0) return -1;
    for (int fd = 0; fd <= 2; ++fd)
        if (fd != null) (void)dup2(null, fd);
    if (null > 2) (void)close(null);
    return 0;
}
