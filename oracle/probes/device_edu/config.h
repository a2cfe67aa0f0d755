/* Configuration space. */
#ifndef PINFOLD_ORACLE_DEVICE_EDU_CONFIG_H
#define PINFOLD_ORACLE_DEVICE_EDU_CONFIG_H
#include "device_edu/set_irqs.h"

static uint32_t config(uint64_t offset, size_t size)
{
    uint32_t value = 0;
    need(pread(device, &value, size, at(kConfig, offset)) == (ssize_t)size, "configuration space");
    return value;
}

static void write_config(char const* rules, uint64_t offset, uint32_t value, size_t size)
{
    check(rules, pwrite(device, &value, size, at(kConfig, offset)),
          "pwrite(config %" PRIx64 ", %x, %zu)", offset, value, size);
    note(rules, "config %" PRIx64 " reads %x", offset, config(offset, size));
}

static void reading(void)
{
    heading("reading configuration space");
    static struct {
        uint64_t offset;
        size_t size;
    } const reads[] = {{0, 0},   {0, 1},   {0, 2},   {0, 4},   {0, 8},   {1, 3},   {2, 4},
                       {252, 4}, {252, 5}, {255, 1}, {256, 1}, {256, 0}, {300, 4}, {4096, 4}};
    for (unsigned i = 0; i < sizeof reads / sizeof reads[0]; ++i) {
        unsigned char bytes[8] = {0};
        check("V-17", pread(device, bytes, reads[i].size, at(kConfig, reads[i].offset)),
              "pread(config %" PRIx64 ", %zu)", reads[i].offset, reads[i].size);
        check("V-17",
              pwrite(device, bytes, reads[i].offset >= 252 ? reads[i].size : 0,
                     at(kConfig, reads[i].offset)),
              "pwrite(config %" PRIx64 ", %zu)", reads[i].offset, reads[i].size);
    }
    check("V-17", pread(device, nowhere, 4, at(kConfig, 0)), "pread(config, NULL)");
    for (unsigned region = 6; region < 12; ++region) {
        uint32_t value = 0;
        check("V-17", pread(device, &value, 0, at(region, 0)), "pread(region %u, 0 bytes)", region);
        if (region != kConfig)
            check("V-17", pread(device, &value, 4, at(region, 0)), "pread(region %u, 4 bytes)",
                  region);
        if (region != kConfig)
            check("V-17", pwrite(device, &value, 4, at(region, 0)), "pwrite(region %u, 4 bytes)",
                  region);
    }
    note("V-19", "vendor and device %x, class %x, header %x", config(0, 4), config(8, 4),
         config(14, 1));
    note("V-19", "command %x", config(4, 2));
    note("V-21", "status %x, capabilities at %x", config(6, 2), config(0x34, 1));
    note("V-20", "interrupt pin %x", config(0x3d, 1));
}

static void writing(void)
{
    heading("writing configuration space");
    write_config("V-19", 0, 0x12345678, 4);
    write_config("V-19", 2, 0xffff, 2);
    write_config("V-19", 4, 0x0000, 2);
    write_config("V-19", 4, 0x0002, 2);
    write_config("V-19", 4, 0x0007, 2);
    write_config("V-19", 4, 0x0407, 2);
    write_config("V-19", 4, 0x0006, 2);
    write_config("V-20", 0x3c, 0x5a, 1);
    write_config("V-20", 0x3d, 0x04, 1);
    write_config("V-19", 0x2c, 0xffffffff, 4);
    write_config("V-19", 0x08, 0xffffffff, 4);
    write_config("V-19", 0x0c, 0xff, 1);
    write_config("V-19", 0x0d, 0xff, 1);
    for (unsigned bar = 0; bar < 6; ++bar) {
        uint32_t const before = config(0x10 + 4 * bar, 4);
        write_config("V-20", 0x10 + 4 * bar, 0xffffffff, 4);
        write_config("V-20", 0x10 + 4 * bar, 0x12345678, 4);
        write_config("V-20", 0x12 + 4 * bar, 0xffff, 2);
        write_config("V-20", 0x13 + 4 * bar, 0x77, 1);
        write_config("V-20", 0x10 + 4 * bar, 0, 4);
        need(pwrite(device, &before, 4, at(kConfig, 0x10 + 4 * bar)) == 4, "BAR back");
    }
    write_config("V-20", 0x30, 0xffffffff, 4);
    write_config("V-20", 0x30, 0, 4);
}

/* The MSI capability, wherever it is. */
static void msi_capability(int event)
{
    heading("the MSI capability");
    uint32_t position = config(0x34, 1);
    while (position != 0 && config(position, 1) != 5) position = config(position + 1, 1);
    if (position == 0) return note("V-21", "none");
    note("V-21", "at %x: %x %x", position, config(position, 4), config(position + 1, 1));
    write_config("V-21", position + 2, 0xffff, 2);
    write_config("V-21", position + 4, 0xffffffff, 4);
    write_config("V-21", position + 4, 0xfee00000, 4);
    write_config("V-21", position + 8, 0xffffffff, 4);
    write_config("V-21", position + 12, 0xffff, 2);
    write_config("V-21", position + 2, 0, 2);
    set("up", 0x24, 1, 1, event);
    note("V-21", "control %x", config(position + 2, 2));
    write_config("V-21", position + 2, 1, 2);
    write_config("V-21", position + 2, 0x71, 2);
    write_config("V-21", position + 2, 0, 2);
    set("down", 0x21, 1, 0, 0);
    note("V-21", "control %x", config(position + 2, 2));
}

#endif
