/* What the files of the stub have in common. */
#ifndef PINFOLD_PRELOAD_STUB_PARTS_H
#define PINFOLD_PRELOAD_STUB_PARTS_H

#include <dlfcn.h>
#include <stddef.h>

/* `next`: the C library's function of that name, or that of the next preloaded library. */
#define PINFOLD_NEXT(name)                \
    static __typeof__(name)* next = NULL; \
    if (__builtin_expect(next == NULL, 0)) *(void**)&next = dlsym(RTLD_NEXT, #name)

/* Once, before the program runs. */
void pinfold_remember_environment(void);

#endif
