"""The boards on which page tables are read: QEMU's words, the guest's RAM, how guest programs are built."""

import dataclasses
import hashlib
import pathlib
import subprocess

from . import cache, compile, say

GUESTS = compile.ORACLE / "tables" / "guest"

_GIB = 1 << 30
_UPPER_HALF = 0xFFFFFF8000000000
_FLAGS = [
    "-std=c11", "-O2", "-g0", "-ffreestanding", "-fno-stack-protector", "-Wall", "-Wextra", "-Werror", "-nostdlib", "-static",
    "-Wa,--noexecstack", "-Wl,-T," + str(GUESTS / "guest.ld"), "-Wl,--build-id=none", "-Wl,-z,max-page-size=4096",
    "-Wl,--no-warn-rwx-segments",
]


@dataclasses.dataclass(frozen=True)
class Board:
    """One of QEMU's boards with much RAM, nearly all of which is never touched."""

    reader: str
    qemu: str
    words: tuple[str, ...]
    memory: str  # the argument of -m
    pieces: tuple[tuple[str, int, int, int], ...]  # file, address, bytes, offset in the file
    load: int  # where the guest program goes
    orders: int
    arena: int  # of the tables
    compiler: str
    flags: tuple[str, ...]

    def files(self) -> dict[str, int]:
        """The RAM's files and their sizes."""
        sizes: dict[str, int] = {}
        for name, _, size, offset in self.pieces:
            sizes[name] = max(sizes.get(name, 0), size + offset)
        return sizes


ARENA_BYTES = 256 << 20

# Between 4 GiB and the end of RAM, and beyond it memory modules whose addresses have the bits that RAM's lack.
_DIMMS = {"dimm0": 0x7A5C40000000, "dimm1": 0x5AAAA80000000, "dimm2": 0xA555540000000}
_DIMM_BYTES = 64 << 20
_X86_RAM = 512 * _GIB


def _x86(reader: str, extra: tuple[str, ...], dimms: tuple[str, ...]) -> Board:
    # QEMU keeps RAM of AMD's CPUs out of the way of HyperTransport.
    words = ["-M", "q35,memory-backend=main", "-cpu", "max,vendor=GenuineIntel,phys-bits=52", "-device", "isa-debug-exit,iobase=0xf4"]
    for name in dimms:
        words += ["-device", f"pc-dimm,memdev={name},addr={_DIMMS[name]:#x}"]
    # The firmware keeps its own at the end of what is below 2 GiB.
    pieces = [("main", 0, 0x70000000, 0), ("main", 4 * _GIB, _X86_RAM - 2 * _GIB, 2 * _GIB)]
    pieces += [(name, _DIMMS[name], _DIMM_BYTES, 0) for name in dimms]
    return Board(
        reader, "qemu-system-x86_64", (*words, *extra), f"{_X86_RAM >> 30}G,slots=4,maxmem=3P", tuple(pieces),
        load=0x200000, orders=0x10000000, arena=0x2A80000000, compiler="gcc",
        flags=("-m64", "-mno-red-zone", "-mgeneral-regs-only", "-fcf-protection=none", "-mcmodel=large", "-fno-pie", "-no-pie",
               f"-DPHYSICAL_BASE={_UPPER_HALF:#x}"),
    )


_EDU = ("-device", "edu,addr=04.0,dma_mask=0xffffffffffffffff", "-icount", "shift=10,sleep=off")


def _arm64(reader: str, board: str, base: int) -> Board:
    return Board(
        reader, "qemu-system-aarch64", ("-M", f"virt,{board}memory-backend=main", "-cpu", "max"), "200G",
        (("main", _GIB, 200 * _GIB, 0),), load=0x40100000, orders=0x48000000, arena=0x2040000000,
        compiler="aarch64-linux-gnu-gcc", flags=("-mgeneral-regs-only", "-fno-pie", "-no-pie", f"-DPHYSICAL_BASE={base:#x}"),
    )


BOARDS = {
    "x86_cpu": _x86("CPU", (), tuple(_DIMMS)),
    # The emulated IOMMUs of VT-d have 48 bits of address.
    "x86_vtd": _x86("intel-iommu, by DMA of edu", ("-device", "intel-iommu,aw-bits=48", *_EDU), ("dimm0",)),
    "x86_amd": _x86("amd-iommu, by DMA of edu", ("-device", "amd-iommu", *_EDU), tuple(_DIMMS)),
    "arm64_stage1": _arm64("CPU at EL1", "", _UPPER_HALF),
    "arm64_stage2": _arm64("CPU with EL2", "virtualization=on,", 0),
    "riscv": Board(
        "CPU", "qemu-system-riscv64", ("-M", "virt,memory-backend=main", "-cpu", "rv64,svnapot=on,svpbmt=on", "-bios", "none"), "1024G",
        (("main", 2 * _GIB, 1024 * _GIB, 0),), load=0x80000000, orders=0x88000000, arena=0x5580000000,
        compiler="riscv64-linux-gnu-gcc", flags=("-march=rv64gc", "-mabi=lp64d", "-mcmodel=medany", "-fno-pie", "-no-pie", "-DPHYSICAL_BASE=0"),
    ),
    "arm32": Board(
        "CPU (cortex-a15)", "qemu-system-arm", ("-M", "virt,highmem=off,memory-backend=main", "-cpu", "cortex-a15"), "3G",
        (("main", _GIB, 3 * _GIB, 0),), load=0x40100000, orders=0x48000000, arena=0x90000000,
        compiler="arm-linux-gnueabihf-gcc", flags=("-marm", "-march=armv7-a", "-mfloat-abi=soft", "-fno-pie", "-no-pie", "-DPHYSICAL_BASE=0"),
    ),
}

_SOURCES = {
    "x86_cpu": ("x86_boot.S", "x86_cpu_trap.S", "x86_cpu.c"),
    "x86_vtd": ("x86_boot.S", "x86_edu.c", "x86_vtd.c"),
    "x86_amd": ("x86_boot.S", "x86_edu.c", "x86_amd.c"),
    "arm64_stage1": ("arm64_stage1_boot.S", "arm64_stage1.c", "arm64.c"),
    "arm64_stage2": ("arm64_stage2_boot.S", "arm64_stage2.c", "arm64.c"),
    "riscv": ("riscv_boot.S", "riscv.c"),
    "arm32": ("arm32_boot.S", "arm32.c"),
}


def build(guest: str) -> pathlib.Path:
    """The guest program, from the cache if it was built before from the same sources."""
    board = BOARDS[guest]
    base = next(flag for flag in board.flags if flag.startswith("-DPHYSICAL_BASE="))[len("-DPHYSICAL_BASE="):]
    command = [
        board.compiler, *_FLAGS, *board.flags, f"-DORDERS={board.orders:#x}",
        f"-Wl,--defsym=PHYSICAL_BASE={base},--defsym=LOAD_ADDRESS={board.load:#x}",
        *(str(GUESTS / name) for name in (*_SOURCES[guest], "run.c")),
    ]
    digest = hashlib.sha256(repr(command).encode())
    for path in sorted(GUESTS.iterdir()):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    folder = cache.root() / "programs"
    folder.mkdir(parents=True, exist_ok=True)
    result = folder / f"{guest}-{digest.hexdigest()[:24]}"
    if result.exists():
        return result
    unfinished = result.with_suffix(".new")
    done = subprocess.run([*command, "-o", str(unfinished)], capture_output=True, text=True)
    if done.returncode != 0:
        raise say.Refusal(f"the guest {guest} does not compile:\n{done.stderr}")
    unfinished.rename(result)
    return result


def qemu_version(guest: str) -> str:
    said = subprocess.run([BOARDS[guest].qemu, "--version"], capture_output=True, text=True, check=True)
    return said.stdout.split()[3]
