/* A library of a user's own that is preloaded into a client, as fakeroot's is: what it wraps it
 * hands on to another of the C library's functions that does the same. Who calls the first by way
 * of the second, and comes here for it, never returns. */
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static void* next(char const* name) { return dlsym(RTLD_NEXT, name); }

int stat64(char const* path, struct stat64* out)
{
    int (*stat_of)(int, char const*, struct stat64*);
    *(void**)&stat_of = next("__xstat64");
    return stat_of(1, path, out);
}

int lstat64(char const* path, struct stat64* out)
{
    int (*stat_of)(int, char const*, struct stat64*);
    *(void**)&stat_of = next("__lxstat64");
    return stat_of(1, path, out);
}

char* realpath(char const* path, char* out)
{
    char* (*into)(char const*, char*);
    char* (*name_of)(char const*);
    *(void**)&into = next("realpath");
    *(void**)&name_of = next("canonicalize_file_name");
    return out == NULL ? name_of(path) : into(path, out);
}

long sysconf(int name)
{
    long (*value)(int);
    long (*pages)(void);
    *(void**)&value = next("sysconf");
    *(void**)&pages = next("get_phys_pages");
    return name == _SC_PHYS_PAGES ? pages() : value(name);
}
