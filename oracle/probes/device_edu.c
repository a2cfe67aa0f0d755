/* The device file of vfio-pci on the two edu devices, which are conventional PCI functions: rules
 * V-1 to V-22. */
/* On the virt board the kernel oopses at a load of one byte from BAR 0, which QEMU's edu does not
 * take. */
// oracle: without arm64-*
#include <sys/eventfd.h>

#include "device_edu/bar.h"
#include "device_edu/config.h"
#include "device_edu/features.h"
#include "device_edu/info.h"
#include "device_edu/room.h"
#include "device_edu/set_irqs.h"

int main(void)
{
    begin();
    here = settle(VFIO_TYPE1v2_IOMMU);
    device = open_device(here.group, kFirst);
    int const event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    need(event >= 0, "eventfd");
    info();
    regions();
    interrupts();
    set_form();
    set_intx(event);
    set_msi(event);
    set_req(event);
    reading();
    writing();
    msi_capability(event);
    bar();
    mappings();
    resets();
    features();
    low_power(event);
    unknown();
    decoding_off();
    heading("closing and opening again");
    close(device);
    device = open_device(here.group, kFirst);
    note("V-2", "command %x, interrupt line kept %d", config(4, 2), config(0x3c, 1) == 0x5a);
    int const twice = open_device(here.group, kFirst);
    write_config("V-2", 4, 6, 2);
    close(twice);
    note("V-2 G-10", "command %x", config(4, 2));
    close(device);
    leave(here);
    return finish();
}
