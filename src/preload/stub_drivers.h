/* What files of the run's /sys do about drivers when they are written. `driver` is the name of a
 * driver's directory, `bdf` that of a device; `text` what was written. 0, or a negative errno. */
#ifndef PINFOLD_PRELOAD_STUB_DRIVERS_H
#define PINFOLD_PRELOAD_STUB_DRIVERS_H

void pinfold_drivers_begin(char const* state_directory);

/* ENODEV: no such device, or the driver does not take it. EBUSY: it has a driver, or its group is
 * in a container and the driver would use the group's DMA. */
long pinfold_bind(char const* driver, char const* bdf);
/* ENODEV: it is not this driver's. */
long pinfold_unbind(char const* driver, char const* bdf);
/* ENODEV: no such device. EINVAL: the driver that takes it could not have it. */
long pinfold_probe(char const* bdf);
/* EINVAL: no ids. EEXIST: the driver has it. */
long pinfold_new_id(char const* driver, char const* text);
/* EINVAL: no ids. ENODEV: it was not added. */
long pinfold_remove_id(char const* driver, char const* text);
long pinfold_override(char const* bdf, char const* text);
/* EINVAL: no number. 0 does nothing. */
long pinfold_remove(char const* bdf, char const* text);

#endif
