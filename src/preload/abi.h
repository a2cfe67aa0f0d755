/* What the stub and the engine know of each other. The stub (libpinfold.so) is loaded into every
 * program under `pinfold run` and is plain C without a C++ runtime; the engine
 * (libpinfold-engine.so) is loaded by the stub when the first VFIO file appears, with
 * RTLD_DEEPBIND, so that the engine's own calls never meet the stub.
 *
 * Results are as from the kernel: >= 0, or a negative errno. Both sides come from one build. */
#ifndef PINFOLD_PRELOAD_ABI_H
#define PINFOLD_PRELOAD_ABI_H

#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The descriptor table: who owns descriptor n. Written by the engine, read by the stub on every
 * call. A descriptor beyond its end is never ours. */
#define PINFOLD_TABLE_SIZE (1U << 20)
#define PINFOLD_FOREIGN 0U           /* not ours */
#define PINFOLD_INTERNAL 0xffffffffU /* the engine's own: it is not there for the client */
#define PINFOLD_ORPHAN 0xfffffffeU   /* inherited by a fork that could not share it */
                                     /* anything else: the id of an open file description of ours */

/* munmap(2) and the like; madvise(MADV_DONTNEED); madvise(MADV_REMOVE). */
enum pinfold_leaving { PINFOLD_UNMAP, PINFOLD_DISCARD, PINFOLD_PUNCH };

/* mlock(2); mmap(2) of locked memory. */
enum pinfold_locking { PINFOLD_MLOCK, PINFOLD_MAP_LOCKED };

/* Where BARs are mapped, and what lies between them. Read without a lock: who finds an address in
 * it asks on. */
struct pinfold_span {
    uintptr_t start, end; /* start >= end: nowhere */
};

struct pinfold_engine {
    /* Calls on descriptors of ours. mmap gives the address. */
    long (*ioctl)(int fd, unsigned long request, unsigned long arg);
    long (*pread)(int fd, void* buffer, size_t size, off_t offset);
    long (*pwrite)(int fd, void const* buffer, size_t size, off_t offset);
    long (*mmap)(void* address, size_t size, int prot, int flags, int fd, off_t offset);
    /* At the file's position, which moves on. */
    long (*read)(int fd, void* buffer, size_t size);
    long (*write)(int fd, void const* buffer, size_t size);
    /* preadv2(2) and pwritev2(2), whose offset of -1 is the file's position. */
    long (*readv)(int fd, struct iovec const* parts, long count, off_t offset, int flags);
    long (*writev)(int fd, struct iovec const* parts, long count, off_t offset, int flags);
    /* A descriptor that fstat(2), statx(2) and F_GETFL find as they would find `fd` on Linux. */
    int (*stand_in)(int fd);

    /* `fd` was just opened by a path that may be a node of ours. 0: it is ours now, or it is not a
     * node; < 0: the open must fail with that errno, and the stub closes fd. */
    long (*opened)(int fd);
    /* A VFIO request met a descriptor that the table does not know. 1: it is ours now; 0: it is
     * foreign. */
    long (*adopt)(int fd);
    /* A descriptor of ours is about to leave through a socket (sent: 1); it could not (0). */
    void (*sending)(int fd, int sent);
    /* Other processes may come to have descriptors of ours unseen, by posix_spawn(3) and its like:
     * they will be known. */
    void (*share)(void);
    /* The program is about to be replaced. `held` gets the descriptors that go with it besides its
     * own, for PINFOLD_ENV_HELD; empty: none. If it is not replaced after all: exec_failed(), on
     * the same thread. */
    void (*before_exec)(char* held, size_t room);
    void (*exec_failed)(void);
    /* Around a posix_spawn(3), in the parent; `any_fd`: descriptors may come to be inherited that
     * are not marked so. */
    void (*before_spawn)(int any_fd, char* held, size_t room);
    void (*after_spawn)(void);
    /* Around vfork(2), in the parent; and in its child, which is in the parent's memory, in place
     * of before_exec() and exec_failed(). */
    void (*before_vfork)(void);
    void (*after_vfork)(void);
    void (*before_borrowed_exec)(char* held, size_t room);
    void (*borrowed_exec_failed)(void);
    /* A program that has just begun takes what its predecessor left in PINFOLD_ENV_HELD. */
    void (*take_held)(char const* held);
    /* The process is about to end. */
    void (*before_exit)(void);

    /* Around fork(2), and in its child in place of after_fork(). In the child what the stub knows
     * of the process is the child's already. */
    void (*before_fork)(void);
    void (*after_fork)(void);
    void (*in_child)(void);

    /* One descriptor of open file `file` has been closed. */
    void (*closed)(uint32_t file);
    /* `copy` is about to share the description of `fd`: call after the kernel made it. */
    void (*duplicated)(int fd, int copy);

    /* [address, address + size) is about to lose its pages. < 0: it cannot be allowed, with that
     * errno. */
    long (*leaving)(void* address, size_t size, enum pinfold_leaving how);
    /* mremap(2) as a whole, because pinned pages move with it. */
    long (*mremap)(void* address, size_t size, size_t new_size, int flags, void* new_address);
    /* [address, address + size) is about to be mlock()ed, or `size` bytes mapped locked. < 0: the
     * account of locked memory has no room for it, with that errno. */
    long (*locking)(void const* address, size_t size, enum pinfold_locking how);
    /* `fd` was just opened as a process's status file: what it says of locked memory becomes what
     * Linux would say. */
    void (*status)(int fd);
    struct pinfold_span const* bars;
    /* 1: some of the range is a BAR, which a system call cannot use as a buffer. */
    int (*in_bar)(void const* start, size_t size);
    /* Copies between such a buffer and memory: out of the buffer, or into it. 0 or -EFAULT. */
    long (*copy_bar)(void* buffer, void* memory, size_t size, int out);
    /* mprotect(2) as a whole: the protection of a BAR is not the client's to change. */
    long (*mprotect)(void* address, size_t size, int prot);

    long (*sigaction)(int signal, struct sigaction const* action, struct sigaction* old);
    /* The thread has just changed its alternate stack. */
    void (*alternate_changed)(void);
    /* pthread_sigmask(3) as a whole: what the engine must always receive is blocked for the program
     * and not for the kernel. */
    long (*mask)(int how, sigset_t const* set, sigset_t* old);
    /* The same for a mask that the kernel or the C library is about to install: takes those out of
     * `set`, and they are the program's blocked ones from now on. `former`: what restore_mask()
     * gives back. 1: a signal that had waited has just been delivered. */
    int (*swap_mask)(sigset_t* set, unsigned* former);
    void (*restore_mask)(unsigned blocked);
    /* A signal of `wanted` that somebody sent and that the program blocks. 1: it is taken. */
    int (*take_kept)(sigset_t const* wanted, siginfo_t* info);
    void (*add_kept)(sigset_t* pending);
};

/* What a text of held descriptors needs. */
#define PINFOLD_HELD_ROOM 256

/* The engine's only export. NULL: it could not start, and the reason is in the run's log. */
typedef struct pinfold_engine const* pinfold_start_function(uint32_t* table,
                                                            char const* state_directory);
#define PINFOLD_START_SYMBOL "pinfold_engine_start"

#ifdef __cplusplus
}
#endif

#endif
