/* Locked memory: how much there is, and how much there may be. */
#ifndef PINFOLD_ORACLE_PROBE_LOCKED_H
#define PINFOLD_ORACLE_PROBE_LOCKED_H
#include <linux/capability.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include "probe/type1.h"

/* VmLck of this process, in pages. */
static inline long locked(void)
{
    char text[8192];
    int const fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
    ssize_t const length = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (fd >= 0) close(fd);
    need(length > 0, "/proc/self/status");
    text[length] = '\0';
    char const* const line = strstr(text, "\nVmLck:");
    need(line != NULL, "VmLck");
    return strtol(line + 7, NULL, 10) * 1024 / (long)page();
}

/* How many mappings can still be made, and how much is locked. */
static inline void state(char const* rules, int container)
{
    printf("[%s] available %ld, locked %ld\n", rules, dma_available(container), locked());
}

/* CAP_IPC_LOCK of this process: with it RLIMIT_MEMLOCK does not count. */
static inline void ipc_lock(bool wanted)
{
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct data[2];
    need(syscall(SYS_capget, &header, data) == 0, "capget");
    if (wanted)
        data[0].effective |= 1u << CAP_IPC_LOCK;
    else
        data[0].effective &= ~(1u << CAP_IPC_LOCK);
    header.pid = 0;
    need(syscall(SYS_capset, &header, data) == 0, "capset");
}

/* The soft limit. The hard one is 8M on a fresh kernel, and not every root may raise it: no probe
 * goes beyond that. */
static inline void memlock_limit(uint64_t bytes)
{
    struct rlimit limit;
    need(getrlimit(RLIMIT_MEMLOCK, &limit) == 0, "getrlimit");
    limit.rlim_cur = bytes;
    need(setrlimit(RLIMIT_MEMLOCK, &limit) == 0, "setrlimit");
}

#endif
