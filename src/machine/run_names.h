/* What a run of `pinfold run` is called by: environment variables and names in the state directory.
 * Plain C, because the preloaded stub has no C++ runtime. run_state.hpp tells what is behind each
 * name. */
#ifndef PINFOLD_MACHINE_RUN_NAMES_H
#define PINFOLD_MACHINE_RUN_NAMES_H

/* The state directory, absolute. Without it the stub does nothing at all. */
#define PINFOLD_ENV_STATE "PINFOLD_STATE"
/* The machine's host page in bytes, where it is larger than the real one. */
#define PINFOLD_ENV_HOST_PAGE "PINFOLD_HOST_PAGE"
/* The engine library, absolute. */
#define PINFOLD_ENV_ENGINE "PINFOLD_ENGINE"
/* "namespace": the mount namespace carries the files. "paths": the preloaded path library rewrites
 * paths. */
#define PINFOLD_ENV_MODE "PINFOLD_MODE"
#define PINFOLD_MODE_NAMESPACE "namespace"
#define PINFOLD_MODE_PATHS "paths"

/* In a program that has just begun: connections to the owners of files that it may have inherited,
 * "N,N": descriptors. */
#define PINFOLD_ENV_HELD "PINFOLD_HELD"
/* The name of a process that keeps a machine for others: /proc/PID/comm. */
#define PINFOLD_KEEPER "pinfold-keeper"

/* Files and directories in the state directory. */
#define PINFOLD_FILE_MACHINE "machine.toml" /* the machine, as machine::to_toml() writes it */
#define PINFOLD_FILE_RUN "run"              /* RunState, one word-separated line for each fact */
#define PINFOLD_FILE_LOG "log" /* what engines have to tell, a line each; printed at the end */
/* What a kernel would have logged, and its IOMMU layer's trace events. The launcher makes those of
 * the two that somebody wants; engines append. */
#define PINFOLD_FILE_KERNEL_LOG "kernel-log"
#define PINFOLD_FILE_TRACE "iommu-trace"
#define PINFOLD_DIR_ROOT "root"         /* mirrors the paths below: root/dev/vfio, root/sys/... */
#define PINFOLD_DIR_DEVICES "devices"   /* one empty file for each device, named by its BDF */
#define PINFOLD_DIR_REMOVALS "removals" /* likewise; what is written there has been unplugged */
#define PINFOLD_DIR_OWNERS "owners"     /* sockets of engines whose files others may use */
/* What new_id has added, a line each: "DRIVER VVVV DDDD". */
#define PINFOLD_FILE_IDS "owners/ids"
/* Before the number of a group: locked by whoever has the group's DMA, a container or, while it
 * binds, a driver of the kernel's. */
#define PINFOLD_FILE_DMA "dma."
#define PINFOLD_DIR_COUNTERS "counters" /* one file for each engine: struct Counters */

/* Where the machine's devices are in sysfs; "pciDDDD:BB/BDF" follows. Not where the host's are,
 * which may have the same addresses: links of the host's go on leading to them. */
#define PINFOLD_SYS_DEVICES "/sys/devices/pinfold"

/* The node of the container; groups are beside it, named by their numbers. */
#define PINFOLD_NODE_DIR "/dev/vfio"
#define PINFOLD_NODE_CONTAINER "vfio"

#endif
