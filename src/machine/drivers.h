/* The drivers that the machine's kernel has, as far as anybody can tell: which devices they take by
 * themselves, and whether a group is still a user's while one of them has a device of it (in Linux
 * driver_managed_dma; before 6.0 the list of drivers that vfio allows). Of what they do with a
 * device nothing is here. Plain C, because the preloaded stub has no C++ runtime.
 *
 * uio_pci_generic and pci-stub take what they are told to take; the others are those that Linux
 * would bind to our models' devices. */
#ifndef PINFOLD_MACHINE_DRIVERS_H
#define PINFOLD_MACHINE_DRIVERS_H

#include <stdbool.h>

#define PINFOLD_VFIO_DRIVER "vfio-pci"

struct pinfold_driver {
    char const* name;
    char const* module;
    bool leaves_dma; /* groups stay viable */
    /* The ids that it was built with; vendor 0: none, or a class alone. */
    unsigned vendor, first_device, last_device;
    unsigned class_code; /* 0: any */
};

/* In the order in which they are asked whether they take a device. */
static struct pinfold_driver const kPinfoldDrivers[] = {
    {"nvme", "nvme", false, 0, 0, 0, 0x010802},
    {"virtio-pci", "virtio_pci", false, 0x1af4, 0x1000, 0x107f, 0},
    {"ioatdma", "ioatdma", false, 0x8086, 0x2021, 0x2021, 0},
    {"uio_pci_generic", "uio_pci_generic", false, 0, 0, 0, 0},
    {"pci-stub", "pci_stub", true, 0, 0, 0, 0},
    {PINFOLD_VFIO_DRIVER, "vfio_pci", true, 0, 0, 0, 0},
};
enum { kPinfoldDriverCount = sizeof kPinfoldDrivers / sizeof *kPinfoldDrivers };

/* Whether a driver takes a device without being told to. */
static inline bool pinfold_driver_knows(struct pinfold_driver const* driver, unsigned vendor,
                                        unsigned device, unsigned class_code)
{
    if (driver->vendor == 0) return driver->class_code != 0 && driver->class_code == class_code;
    return vendor == driver->vendor && device >= driver->first_device &&
           device <= driver->last_device;
}

#endif
