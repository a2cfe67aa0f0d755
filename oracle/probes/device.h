/* What the probes of devices share: calls on a device file with every argument in every wrong form.
 * Bytes that belong to the machine and not to vfio-pci are not printed. */
#ifndef PINFOLD_ORACLE_DEVICE_H
#define PINFOLD_ORACLE_DEVICE_H
#include "device/access.h"
#include "device/calls.h"
#include "device/config.h"
#include "device/info.h"
#include "device/regions.h"
#include "device/set_irqs.h"

static inline void generic(int device)
{
    device_info(device);
    region_info(device);
    irq_info(device);
    unknown_ioctls(device);
    access_errors(device);
    mapping_errors(device);
    command(device);
    fixed_fields(device);
    bars(device);
    irq_arguments(device);
    features(device);
    ioeventfds(device);
    resets(device);
}

#endif
