/* What the files of the stub have in common. */
#ifndef PINFOLD_PRELOAD_STUB_PARTS_H
#define PINFOLD_PRELOAD_STUB_PARTS_H

#include <dlfcn.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* `next`: the C library's function of that name, or that of the next preloaded library. */
#define PINFOLD_NEXT(name)                \
    static __typeof__(name)* next = NULL; \
    if (__builtin_expect(next == NULL, 0)) *(void**)&next = dlsym(RTLD_NEXT, #name)

/* Up to the end of the block pthread_cancel(3) waits: what is no cancellation point on Linux must
 * not become one by what we call. */
#define PINFOLD_UNCANCELLED                                                  \
    __attribute__((cleanup(pinfold_cancel_as_before))) int uncancelled_ = 0; \
    (void)pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &uncancelled_)

static inline void pinfold_cancel_as_before(int const* before)
{
    (void)pthread_setcancelstate(*before, NULL);
}

/* NULL: there is none yet, or this is a child of vfork(2), which must leave no mark in it. */
struct pinfold_engine const* pinfold_current_engine(void);

/* rt_sigprocmask(2) has just been done by its number. */
void pinfold_mask_changed(int how, uint64_t const* set, uint64_t* old);

/* NULL: `fd` is not ours. */
struct pinfold_engine const* pinfold_engine_of(int fd);

/* A system call by its number, if it is one of stub_files.c. */
bool pinfold_file_call(long number, long const* arguments, long* result);

/* Once, before the program runs. */
void pinfold_remember_environment(void);

/* read(2), write(2) and close(2) as the C library has them. */
ssize_t pinfold_plain_read(int fd, void* data, size_t size);
ssize_t pinfold_plain_write(int fd, void const* data, size_t size);
int pinfold_plain_close(int fd);

/* The engine, where it is loaded and has something to say of a program that is about to begin; NULL
 * otherwise. `borrowed`: this is a child between vfork(2) and exec, in its parent's memory. */
struct pinfold_engine const* pinfold_succession(bool* borrowed);

/* Files of the run's /sys that act when they are written. */
void pinfold_sysfs_begin(char const* state_directory);
/* `fd` was just opened by that path. */
void pinfold_sysfs_opened(char const* path, int flags, int fd);
/* Whether this process has opened one for writing. */
bool pinfold_sysfs_any(void);
/* False: `fd` is none. Otherwise `result` is that of the write, as from the kernel. */
bool pinfold_sysfs_write(int fd, void const* data, size_t size, long* result);
/* `fd` is about to be closed or replaced. */
void pinfold_sysfs_closing(int fd);

#endif
