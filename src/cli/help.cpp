#include "cli/help.hpp"

#include <fmt/format.h>

namespace pinfold::cli {

std::string_view main_help()
{
    return R"(pinfold - VFIO without the hardware

Usage:
  pinfold run [OPTION]... -- PROGRAM [ARGUMENT]...
  pinfold machines [NAME]
  pinfold devices [NAME]
  pinfold --help | --version

Runs unmodified VFIO programs on a machine with no IOMMU and no PCI device: the
kernel's Type1 back end, IOMMU page tables and the devices are emulated in the
program's own process. No root, no kernel module.

Commands:
  run        run a program on an emulated machine
  machines   list the machines there are, or print one as a file to change
  devices    list the device models and their settings, or those of one

Each command has its own --help.

Examples:
  A disk image through an emulated NVMe controller, with QEMU's own tools:
    truncate -s 64M disk.raw
    pinfold run --device nvme,bdf=0000:00:04.0,disk=disk.raw --report -- \
        qemu-img convert -n -f raw -O raw photo.iso nvme://0000:00:04.0/1

  Your driver, on the DMA teaching device that QEMU has too:
    pinfold run -- ./my-vfio-program 0000:00:04.0

Exit status:
  That of the program. 2 where Pinfold could not start it: one sentence on
  standard error says why.
)";
}

std::string_view run_help()
{
    return R"(pinfold run - run a program on an emulated machine

Usage:
  pinfold run [OPTION]... -- PROGRAM [ARGUMENT]...

The program sees the machine's devices in /sys and /dev/vfio, bound to vfio-pci,
in place of the host's PCI devices. Its exit status and its signals are passed
through. What it does not do with VFIO, it does as always.

Options:
  --machine NAME|FILE.toml
        The machine: one that "pinfold machines" lists, or a file. Default: vtd.
  --device MODEL,bdf=BDF[,group=N][,driver=NAME][,KEY=VALUE]...
        One more device; may be given several times. "pinfold devices" lists the
        models and their settings. A comma inside a value is written twice.
        Devices on another bus than 00 are behind a root port, which can be hot
        reset.
        "driver": what it is bound to at first, such as nvme, host (what Linux
        would choose) or none. Default: vfio-pci.
        Without any device, there is an edu at 0000:00:04.0.
  --kernel 6.1|6.12|7.3
        The Linux version whose behaviour the machine has. Default: 7.3.
  --host-page 4K|16K|64K
        The host's page size: what the program sees as its page size, and what
        is pinned and charged.
  --iommu-pages LIST
        The page sizes of the IOMMU, such as 4K,2M,1G.
  --aperture BITS
        How wide the IOMMU's addresses are.
  --policy linux|pre-2015|rfc-2015|subpage
        What becomes of IOMMU pages smaller than the host's: as Linux has it
        since 4.4 (the default), had it before, might have had it; or mappings
        of less than a host page, which share it. docs/subpage.md tells more.
  --allow-coarse
        Let an IOMMU pass whose pages are all larger than the host's. No Linux
        runs on that, so nothing proves what happens then.
  --memlock SIZE|unlimited|inherit
        The limit that pinned memory is held against. Default: as the machine
        says, which is "inherit": the program's own RLIMIT_MEMLOCK (ulimit -l),
        and none with CAP_IPC_LOCK, as in Linux. SIZE is 8M, 512K, 1G or bytes.
  --no-namespace
        Rewrite the paths that the program uses instead of making a private
        mount namespace. Pinfold does so by itself where namespaces are
        forbidden.
  --report[=FILE]
        When the program has ended, tell what it mapped, pinned and transferred:
        on standard error, or into FILE.
  --log FILE
        Write into FILE what the kernel would have written into its log.
  --trace-iommu FILE
        Write each call of the IOMMU layer into FILE, a line each, as the
        kernel's trace events iommu:map and iommu:unmap would have it.
  --verbose
        Say how the run is set up, on standard error.
  -h, --help
        This text.

There is no iommufd, no VFIO device file of its own (/dev/vfio/devices) and no
no-IOMMU group: a program that asks is answered as by a kernel without them.

The program must be dynamically linked (a script: its interpreter), and not gain
privileges: a library is loaded into it by LD_PRELOAD.

Examples:
  pinfold run -- ./my-vfio-program 0000:00:04.0

  pinfold run --device nvme,bdf=0000:00:04.0,disk=disk.raw -- \
      qemu-io -f raw -c 'write -P 7 0 4k' -c 'read -P 7 0 4k' \
      nvme://0000:00:04.0/1

  The same on a host with 64K pages whose IOMMU has none of them, as Linux 6.1:
    pinfold run --machine arm64-64k-iommu4k --kernel 6.1 -- ./my-vfio-program

  Does it live within 8 MiB of locked memory?
    pinfold run --memlock 8M --report -- ./my-vfio-program

Exit status:
  That of the program; where it died of a signal, so does pinfold. 2 where the
  program could not be started.
)";
}

std::string_view machines_help()
{
    return R"(pinfold machines - the machines that programs can run on

Usage:
  pinfold machines          list them
  pinfold machines NAME     print one as a machine file

A machine is the host (page size, locked memory), its IOMMU (model, page sizes,
address width, reserved regions), the parameters of vfio_iommu_type1, and
devices. docs/machine-format.md describes the file.

Example:
  pinfold machines vtd > mine.toml
  pinfold run --machine mine.toml -- ./my-vfio-program
)";
}

std::string_view devices_help()
{
    return R"(pinfold devices - the device models

Usage:
  pinfold devices [NAME]

Lists each model with its settings, as "pinfold run --device" and the [[device]]
tables of a machine file take them. NAME is one of them, or the path of a shared
object with a model of your own, such as ./checksum.so.

Example:
  pinfold run --device edu,bdf=0000:00:04.0 \
      --device edu,bdf=0000:00:05.0,group=9 -- ./my-vfio-program
)";
}

std::string version_text() { return fmt::format("pinfold {}\n", PINFOLD_VERSION); }

}  // namespace pinfold::cli
