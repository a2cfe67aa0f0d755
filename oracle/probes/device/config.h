/* What of configuration space can be written, and what comes of it. */
#ifndef PINFOLD_ORACLE_DEVICE_CONFIG_H
#define PINFOLD_ORACLE_DEVICE_CONFIG_H
#include "device/access.h"

static inline void bars(int device)
{
    heading("BARs");
    for (unsigned offset = 0x10; offset <= 0x30; offset += 4) {
        if (offset == 0x28 || offset == 0x2c) continue;
        uint32_t const old = config_read(device, offset, 4);
        config_write(device, offset, 4, 0xffffffff);
        note("V-20", "%02x sized: %08x", offset, config_read(device, offset, 4));
        config_write(device, offset, 4, 0);
        note("V-20", "%02x zeroed: %08x", offset, config_read(device, offset, 4));
        config_write(device, offset, 1, 0xff);
        note("V-20", "%02x low byte: %08x", offset, config_read(device, offset, 4));
        config_write(device, offset, 4, 0x12345678);
        note("V-20", "%02x moved: %08x", offset, config_read(device, offset, 4));
        config_write(device, offset, 4, old);
        note("V-20", "%02x restored: %d", offset, config_read(device, offset, 4) == old);
    }
}

static inline void fixed_fields(int device)
{
    heading("fixed fields");
    static struct {
        char const* name;
        unsigned offset;
        unsigned size;
        bool shown;
    } const fields[] = {{"vendor", 0, 2, true},
                        {"device", 2, 2, true},
                        {"revision", 8, 4, true},
                        {"cache line", 0xc, 1, false},
                        {"latency", 0xd, 1, false},
                        {"header type", 0xe, 1, true},
                        {"bist", 0xf, 1, true},
                        {"subsystem vendor", 0x2c, 2, true},
                        {"subsystem", 0x2e, 2, true},
                        {"capabilities", 0x34, 1, false},
                        {"interrupt line", 0x3c, 1, true},
                        {"interrupt pin", 0x3d, 1, true},
                        {"min grant", 0x3e, 1, true},
                        {"max latency", 0x3f, 1, true}};
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; ++i) {
        uint32_t const old = config_read(device, fields[i].offset, fields[i].size);
        if (fields[i].shown && fields[i].offset != 0x3c)
            note("V-19 V-20", "%s: %x", fields[i].name, old);
        config_write(device, fields[i].offset, fields[i].size, ~old);
        uint32_t const mask = fields[i].size == 4 ? 0xffffffff : (1u << 8 * fields[i].size) - 1;
        note("V-19 V-20", "%s: bits that turned %x", fields[i].name,
             (config_read(device, fields[i].offset, fields[i].size) ^ old) & mask);
        config_write(device, fields[i].offset, fields[i].size, old);
    }
}

static inline void command(int device)
{
    heading("COMMAND");
    uint32_t const old = config_read(device, 4, 2);
    note("V-2 V-19", "at first: %x", old);
    for (unsigned bit = 0; bit < 16; ++bit) {
        config_write(device, 4, 2, old ^ 1u << bit);
        note("V-19", "bit %u turned: %x", bit, config_read(device, 4, 2));
        config_write(device, 4, 2, old);
    }
    config_write(device, 4, 2, 0xffff);
    note("V-19", "all: %x", config_read(device, 4, 2));
    config_write(device, 4, 2, 0);
    note("V-19", "none: %x", config_read(device, 4, 2));
    unsigned char bytes[4];
    for (uint32_t index = 0; index < 6; ++index) {
        struct vfio_region_info info = {.argsz = sizeof info, .index = index};
        if (ioctl(device, VFIO_DEVICE_GET_REGION_INFO, &info) != 0 || info.size == 0) continue;
        check("V-17 V-19", pread(device, bytes, 4, region_at(index, 0)),
              "pread(region %u, memory off)", index);
        check("V-17 V-19", pwrite(device, bytes, 4, region_at(index, 0)),
              "pwrite(region %u, memory off)", index);
        void* const view = mmap(NULL, page(), PROT_READ, MAP_SHARED, device, region_at(index, 0));
        check("V-18", view == MAP_FAILED ? -1 : 0, "mmap(region %u, memory off)", index);
        if (view != MAP_FAILED) munmap(view, page());
    }
    config_write(device, 4, 2, old);
}

#endif
