"""The cells of the oracle: machine × kernel, and what QEMU needs to be told for each."""

import dataclasses
import pathlib

from . import arm_kernel, say, x86_kernel

# The devices that probes find, on every machine and under Pinfold alike.
EDU = ["0000:00:04.0", "0000:00:05.0"]
NVME = "0000:00:06.0"
VIRTIO_NET = "0000:00:07.0"  # with both interfaces
MODERN_NET = "0000:00:08.0"  # its DMA goes through the IOMMU
# Behind root ports: an nvme and an edu in one slot, and an edu alone. The buses are numbered as the ports are found.
PORTS = ["09.0", "0a.0"]
SLOT_NVME = "0000:01:00.0"
SLOT_EDU = "0000:01:00.1"
LONE_EDU = "0000:02:00.0"
ALL = [*EDU, NVME, VIRTIO_NET, MODERN_NET, SLOT_NVME, SLOT_EDU, LONE_EDU]

_X86_OPTIONS = "console=ttyS0 iommu.strict=1 transparent_hugepage=never no_timer_check quiet loglevel=1 panic=-1"
_ARM_OPTIONS = "console=ttyAMA0 quiet loglevel=1 panic=-1"


@dataclasses.dataclass(frozen=True)
class Machine:
    """One emulated host with its IOMMU."""

    name: str
    generations: tuple[str, ...]
    board: tuple[str, ...]  # QEMU's words for the board and the IOMMU
    options: str  # the kernel's command line
    pages: str = ""  # arm64: the host page size of the kernel that is built
    preset: str = ""  # Pinfold's machine; the same name if empty

    @property
    def is_arm(self) -> bool:
        return bool(self.pages)

    @property
    def pinfold_name(self) -> str:
        return self.preset or self.name


@dataclasses.dataclass(frozen=True)
class Cell:
    machine: Machine
    generation: str

    @property
    def name(self) -> str:
        return f"{self.machine.name}-{self.generation}"

    @property
    def remaps_interrupts(self) -> bool:
        """QEMU's amd-iommu as it is here does not; kernels before 7.3 do not notice."""
        return self.name != "amdvi-7.3"

    @property
    def qemu(self) -> str:
        return "qemu-system-aarch64" if self.machine.is_arm else "qemu-system-x86_64"

    @property
    def compiler(self) -> str:
        """For programs of the guest."""
        return "aarch64-linux-gnu-gcc" if self.machine.is_arm else "gcc"

    def kernel(self) -> pathlib.Path:
        """The folder with its kernel, fetched or built if it is not there yet."""
        if self.machine.is_arm:
            return arm_kernel.image(self.machine.pages)
        return x86_kernel.kernel(self.generation)


def _x86(name: str, iommu: list[str], options: str) -> Machine:
    board = ("-M", "q35,kernel-irqchip=split", *(word for device in iommu for word in ("-device", device)))
    return Machine(name, ("6.1", "6.12", "7.3"), board, f"{options} {_X86_OPTIONS}")


def _arm(name: str, pages: str, iommu: str = "smmuv3", devices: tuple[str, ...] = (), options: str = "") -> Machine:
    board = ("-M", f"virt,gic-version=3,its=on,iommu={iommu}", *(word for device in devices for word in ("-device", device)))
    return Machine(name, ("6.1",), board, f"{options} {_ARM_OPTIONS}".strip(), pages)


MACHINES = [
    _x86("vtd", ["intel-iommu,intremap=on,caching-mode=on"], "intel_iommu=on"),
    _x86("vtd-48", ["intel-iommu,intremap=on,caching-mode=on,aw-bits=48"], "intel_iommu=on"),
    _x86("amdvi", ["amd-iommu"], "amd_iommu=on"),
    _arm("arm64-4k", "4k"),
    _arm("arm64-16k", "16k"),
    _arm("arm64-64k", "64k"),
    _arm("arm64-64k-iommu4k", "64k", options="arm_smmu_v3.pgsizes=0x40201000"),
    _arm("arm64-64k-virtio", "64k", iommu="none", devices=("virtio-iommu-pci,addr=01.0",)),
]

CELLS = [Cell(machine, generation) for machine in MACHINES for generation in machine.generations]


def find(name: str) -> Cell:
    """A cell by its name; a machine's name alone is its oldest kernel."""
    for cell in CELLS:
        if name in (cell.name, cell.machine.name):
            return cell
    raise say.Refusal(f"there is no cell {name!r}; there are {', '.join(cell.name for cell in CELLS)}")
