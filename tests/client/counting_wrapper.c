/* A library of a user's own that is preloaded into a client: it counts the calls that it sees on
 * their way to the C library, and tells at the end. */
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/types.h>

static unsigned ioctls, opens, mmaps, sigactions;

#define NEXT(name)                 \
    static __typeof__(name)* next; \
    if (next == NULL) *(void**)&next = dlsym(RTLD_NEXT, #name)

int ioctl(int fd, unsigned long request, ...);
int ioctl(int fd, unsigned long request, ...)
{
    va_list arguments;
    va_start(arguments, request);
    void* const argument = va_arg(arguments, void*);
    va_end(arguments);
    NEXT(ioctl);
    ++ioctls;
    return next(fd, request, argument);
}

int open(char const* path, int flags, ...)
{
    va_list arguments;
    va_start(arguments, flags);
    mode_t const mode = (flags & O_CREAT) != 0 ? va_arg(arguments, mode_t) : 0;
    va_end(arguments);
    NEXT(open);
    ++opens;
    return next(path, flags, mode);
}

void* mmap(void* address, size_t size, int prot, int flags, int fd, off_t offset)
{
    NEXT(mmap);
    ++mmaps;
    return next(address, size, prot, flags, fd, offset);
}

int sigaction(int number, struct sigaction const* action, struct sigaction* old)
{
    NEXT(sigaction);
    ++sigactions;
    return next(number, action, old);
}

__attribute__((destructor)) static void tell(void)
{
    fprintf(stderr, "wrapper: %u ioctl, %u open, %u mmap, %u sigaction\n", ioctls, opens, mmaps,
            sigactions);
}
