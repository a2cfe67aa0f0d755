/* BAR 0, by read and write and by its mapping. */
#ifndef PINFOLD_ORACLE_DEVICE_EDU_BAR_H
#define PINFOLD_ORACLE_DEVICE_EDU_BAR_H
#include <setjmp.h>
#include <signal.h>
#include "device_edu/config.h"

static void bar(void)
{
    heading("BAR 0 by read and write");
    write_config("V-17", 4, 6, 2);
    uint32_t value = 0;
    check("V-17", pread(device, &value, 4, at(0, 0)), "pread(BAR 0, 4)");
    note("V-17", "identification %x", value);
    value = 0x12345678;
    check("V-17", pwrite(device, &value, 4, at(0, 4)), "pwrite(BAR 0 + 4, 4)");
    check("V-17", pread(device, &value, 4, at(0, 4)), "pread(BAR 0 + 4, 4)");
    note("V-17", "the complement %x", value);
    static struct {
        uint64_t offset;
        size_t size;
    } const reads[] = {{0, 0},        {0xffffc, 4},  {0xffffc, 8}, {0xfffff, 4},
                       {0x100000, 4}, {0x100000, 0}, {0x200000, 1}};
    for (unsigned i = 0; i < sizeof reads / sizeof reads[0]; ++i) {
        char bytes[8];
        check("V-17", pread(device, bytes, reads[i].size, at(0, reads[i].offset)),
              "pread(BAR 0 + %" PRIx64 ", %zu)", reads[i].offset, reads[i].size);
    }
    check("V-17", pread(device, nowhere, 4, at(0, 0)), "pread(BAR 0, NULL)");
    check("V-17", pread(device, &value, 4, at(1, 0)), "pread(BAR 1, 4)");
    check("V-17", pread(device, &value, 4, at(20, 0)), "pread(region 20, 4)");
    write_config("V-17", 4, 0, 2);
    check("V-17", pread(device, &value, 4, at(0, 0)), "pread(BAR 0, decoding off)");
    check("V-17", pwrite(device, &value, 4, at(0, 4)), "pwrite(BAR 0, decoding off)");
    check("V-17", pread(device, &value, 4, at(0, 0x100000)), "pread(beyond BAR 0, decoding off)");
    write_config("V-17", 4, 6, 2);
    check("V-17", pread(device, &value, 4, at(0, 0)), "pread(BAR 0, decoding on)");
}

static void mapping(char const* what, uint64_t size, int protection, int flags, uint64_t offset)
{
    void* const base = mmap(NULL, size, protection, flags, device, (off_t)offset);
    int const error = errno;
    printf("[V-18] mmap(%s) = %s\n", what, base == MAP_FAILED ? strerrorname_np(error) : "address");
    if (base != MAP_FAILED) munmap(base, size);
}

static sigjmp_buf after_fault;

static void on_fault(int signal) { siglongjmp(after_fault, signal); }

/* The signal that a load ends by; 0 for none. */
static int faults(uint32_t volatile* where)
{
    struct sigaction const action = {.sa_handler = on_fault};
    struct sigaction before;
    sigaction(SIGBUS, &action, &before);
    int const signal = sigsetjmp(after_fault, 1);
    if (signal == 0) (void)*where;
    sigaction(SIGBUS, &before, NULL);
    return signal;
}

static void mappings(void)
{
    heading("mapping");
    int const both = PROT_READ | PROT_WRITE;
    mapping("BAR 0, a page", page(), both, MAP_SHARED, 0);
    mapping("BAR 0, whole", 0x100000, both, MAP_SHARED, 0);
    mapping("BAR 0, a page too much", 0x100000 + page(), both, MAP_SHARED, 0);
    mapping("BAR 0, a byte", 1, both, MAP_SHARED, 0);
    mapping("BAR 0, nothing", 0, both, MAP_SHARED, 0);
    mapping("BAR 0, private", page(), both, MAP_PRIVATE, 0);
    mapping("BAR 0, read only", page(), PROT_READ, MAP_SHARED, 0);
    mapping("BAR 0, the last page", page(), both, MAP_SHARED, 0x100000 - page());
    mapping("BAR 0, behind the end", page(), both, MAP_SHARED, 0x100000);
    mapping("BAR 0, inside a page", page(), both, MAP_SHARED, 512);
    for (unsigned region = 1; region < 12; ++region) {
        char what[32];
        snprintf(what, sizeof what, "region %u", region);
        mapping(what, page(), both, MAP_SHARED, (uint64_t)region << 40);
    }
    uint32_t volatile* const base = mmap(NULL, page(), both, MAP_SHARED, device, 0);
    need(base != MAP_FAILED, "BAR 0");
    note("V-18", "identification by load %x", base[0]);
    base[1] = 0x0f0f0f0f;
    note("V-18", "the complement by load %x", base[1]);
    munmap((void*)(uintptr_t)base, page());
}

static void decoding_off(void)
{
    heading("a mapping while decoding is off");
    uint32_t volatile* const base =
        mmap(NULL, page(), PROT_READ | PROT_WRITE, MAP_SHARED, device, 0);
    need(base != MAP_FAILED, "BAR 0");
    write_config("V-18", 4, 0, 2);
    note("V-18", "a load ends by signal %d", faults(base));
    write_config("V-18", 4, 6, 2);
    munmap((void*)(uintptr_t)base, page());
}

#endif
