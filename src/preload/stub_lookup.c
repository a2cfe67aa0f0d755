/* dlsym(3): who asks the C library itself for one of the functions that we interpose (Python's
 * ctypes does, by the handle of libc.so.6) gets ours, as they would get it by linking.
 *
 * What is asked of RTLD_NEXT and RTLD_DEFAULT is answered by who asks, which the real function
 * tells by its return address; so that stands where it was. Thread safe. */
#include <dlfcn.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "machine/run_names.h"
#include "preload/stub_parts.h"

typedef void* Lookup(void* handle, char const* name);

static Lookup* real_lookup(void)
{
    static Lookup* real = NULL;
    Lookup* found = __atomic_load_n(&real, __ATOMIC_ACQUIRE);
    if (found != NULL) return found;
    *(void**)&found = dlvsym(RTLD_NEXT, "dlsym", "GLIBC_2.34");
    if (found == NULL) *(void**)&found = dlvsym(RTLD_NEXT, "dlsym", "GLIBC_2.2.5");
    __atomic_store_n(&real, found, __ATOMIC_RELEASE);
    return found;
}

/* Where the library that has `symbol` is in memory. */
static void* base_of(void* symbol)
{
    Dl_info info;
    return symbol != NULL && dladdr(symbol, &info) != 0 ? info.dli_fbase : NULL;
}

/* `name` as a library of ours has it; NULL: it has not. */
static void* in_library(void* library, char const* name)
{
    void* const symbol = library != NULL ? real_lookup()(library, name) : NULL;
    if (symbol == NULL) return NULL;
    Dl_info info;
    char const* const prefix = "libpinfold";
    if (dladdr(symbol, &info) == 0 || info.dli_fname == NULL) return NULL;
    char const* const slash = strrchr(info.dli_fname, '/');
    char const* const file = slash != NULL ? slash + 1 : info.dli_fname;
    return strncmp(file, prefix, strlen(prefix)) == 0 ? symbol : NULL;
}

/* The library of ours that stands before the others, beside the engine. */
static void* library_named(char const* file)
{
    char path[1024];
    char const* const engine = getenv(PINFOLD_ENV_ENGINE);
    char const* const slash = engine != NULL ? strrchr(engine, '/') : NULL;
    if (slash == NULL || (size_t)(slash - engine) + strlen(file) + 2 > sizeof path) return NULL;
    memcpy(path, engine, (size_t)(slash - engine) + 1);
    strcpy(path + (slash - engine) + 1, file);
    return dlopen(path, RTLD_LAZY | RTLD_NOLOAD);
}

static void* ours(char const* name)
{
    static char const* const kOrder[] = {"libpinfold-paths.so", "libpinfold-page.so",
                                         "libpinfold.so"};
    void* symbol = NULL;
    for (size_t i = 0; symbol == NULL && i < sizeof kOrder / sizeof *kOrder; ++i) {
        void* const library = library_named(kOrder[i]);
        symbol = in_library(library, name);
        if (library != NULL) (void)dlclose(library);
    }
    return symbol;
}

static void* look_up(void* handle, char const* name)
{
    void* const found = real_lookup()(handle, name);
    if (found == NULL || getenv(PINFOLD_ENV_ENGINE) == NULL) return found;
    static void* libc = NULL;
    if (libc == NULL) libc = base_of((void*)(size_t)real_lookup());
    if (base_of(found) != libc) return found;
    void* const instead = ours(name);
    return instead != NULL ? instead : found;
}

/* Which of the two is to be entered with the arguments of a dlsym() as they are. */
__attribute__((used)) static Lookup* lookup_for(void const* handle)
{
    bool const by_caller = handle == RTLD_NEXT || handle == RTLD_DEFAULT;
    return by_caller ? real_lookup() : look_up;
}

__asm__(
    "    .text\n"
    "    .globl dlsym\n"
    "    .type dlsym, @function\n"
    "dlsym:\n"
    "    .cfi_startproc\n"
    "    endbr64\n"
    "    pushq %rdi\n"
    "    .cfi_adjust_cfa_offset 8\n"
    "    pushq %rsi\n"
    "    .cfi_adjust_cfa_offset 8\n"
    "    subq $8, %rsp\n"
    "    .cfi_adjust_cfa_offset 8\n"
    "    call lookup_for\n"
    "    addq $8, %rsp\n"
    "    .cfi_adjust_cfa_offset -8\n"
    "    popq %rsi\n"
    "    .cfi_adjust_cfa_offset -8\n"
    "    popq %rdi\n"
    "    .cfi_adjust_cfa_offset -8\n"
    "    jmp *%rax\n"
    "    .cfi_endproc\n"
    "    .size dlsym, . - dlsym\n");
