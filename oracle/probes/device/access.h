/* Configuration space as a probe itself uses it. */
#ifndef PINFOLD_ORACLE_DEVICE_ACCESS_H
#define PINFOLD_ORACLE_DEVICE_ACCESS_H
#include "probe.h"

enum { kConfig = VFIO_PCI_CONFIG_REGION_INDEX, kRegions = 9, kIrqs = 5 };

static inline off_t region_at(uint32_t index, uint64_t offset)
{
    return (off_t)((uint64_t)index << 40 | offset);
}

static inline uint32_t config_read(int device, unsigned offset, unsigned size)
{
    uint32_t value = 0;
    need(pread(device, &value, size, region_at(kConfig, offset)) == (ssize_t)size,
         "configuration space");
    return value;
}

static inline void config_write(int device, unsigned offset, unsigned size, uint32_t value)
{
    need(pwrite(device, &value, size, region_at(kConfig, offset)) == (ssize_t)size,
         "configuration space");
}

#endif
