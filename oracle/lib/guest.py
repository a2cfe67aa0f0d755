"""Boots a cell in QEMU, without KVM, runs jobs in it and brings back what they did."""

import pathlib
import subprocess
import tempfile
import time

from . import cells, compile, frames, initramfs, jobs, say, x86_kernel

_MEMORY = "2G"
_BOOT_SECONDS = 60


def qemu_version(cell: cells.Cell) -> str:
    said = subprocess.run([cell.qemu, "--version"], capture_output=True, text=True, check=True)
    return said.stdout.splitlines()[0]


def _devices(folder: pathlib.Path) -> list[str]:
    words = []
    for bdf in cells.EDU:
        words += ["-device", f"edu,addr={bdf[-4:]},dma_mask=0xffffffffffffffff"]
    words += _disk("disk", folder)
    words += ["-device", f"nvme,addr={cells.NVME[-4:]},serial=pinfold,drive=disk"]
    words += ["-device", f"virtio-net-pci,addr={cells.VIRTIO_NET[-4:]},disable-legacy=off,romfile="]
    words += ["-device", f"virtio-net-pci,addr={cells.MODERN_NET[-4:]},disable-legacy=on,iommu_platform=on,romfile="]
    return words + _behind_ports(folder)


def _disk(name: str, folder: pathlib.Path) -> list[str]:
    return ["-drive", f"if=none,id={name},format=raw,file={folder / name}"]


def _behind_ports(folder: pathlib.Path) -> list[str]:
    words = []
    for number, address in enumerate(cells.PORTS, 1):
        words += ["-device", f"pcie-root-port,id=port{number},chassis={number},addr={address},x-speed=2_5"]
    words += _disk("slot-disk", folder)
    words += ["-device", f"nvme,bus=port1,addr={cells.SLOT_NVME[-4:]},multifunction=on,serial=slot,drive=slot-disk"]
    words += ["-device", f"edu,bus=port1,addr={cells.SLOT_EDU[-4:]},dma_mask=0xffffffffffffffff"]
    words += ["-device", f"edu,bus=port2,addr={cells.LONE_EDU[-4:]},dma_mask=0xffffffffffffffff"]
    return words


def _initramfs(cell: cells.Cell, kernel: pathlib.Path, wanted: list[jobs.Job]) -> bytes:
    archive = initramfs.Archive()
    archive.character_device("dev/console", 5, 1)
    for folder in ("proc", "sys", "tmp"):
        archive.folder(folder)
    init = compile.program(compile.ORACLE / "guest" / "init.c", cell.compiler, static=True)
    archive.file("init", init.read_bytes(), executable=True)
    _add_modules(archive, kernel)
    lines = [f"bind {bdf}" for bdf in cells.ALL]
    programs = {}
    for number, job in enumerate(wanted):
        if job.source not in programs:
            programs[job.source] = f"/probes/{job.source.stem}"
            built = compile.program(job.source, cell.compiler, static=True)
            archive.file(programs[job.source][1:], built.read_bytes(), executable=True)
        stdin_path = None
        if job.stdin is not None:
            stdin_path = f"/stdin/{number}"
            archive.file(stdin_path[1:], job.stdin)
        lines += jobs.guest_lines(job, programs[job.source], stdin_path)
    archive.file("jobs", ("\n".join(lines) + "\n").encode())
    return archive.bytes()


def _add_modules(archive: initramfs.Archive, kernel: pathlib.Path) -> None:
    if not (kernel / "modules").is_dir():
        return
    present = [name for name in x86_kernel.MODULES if (kernel / "modules" / f"{name}.ko").exists()]
    for name in present:
        archive.file(f"modules/{name}.ko", (kernel / "modules" / f"{name}.ko").read_bytes())
    archive.file("modules/list", "".join(f"/modules/{name}.ko\n" for name in present).encode())


def _command(cell: cells.Cell, kernel: pathlib.Path, folder: pathlib.Path) -> list[str]:
    image = kernel / ("Image" if cell.machine.is_arm else "vmlinuz")
    return [
        cell.qemu, *cell.machine.board, "-accel", "tcg", "-cpu", "max", "-m", _MEMORY, "-nodefaults", "-nic", "none",
        "-display", "none", "-serial", f"file:{folder / 'console'}", "-no-reboot", *_devices(folder),
        "-kernel", str(image), "-initrd", str(folder / "initramfs"), "-append", cell.machine.options,
    ]


def boot(cell: cells.Cell, wanted: list[jobs.Job]) -> frames.Transcript:
    """Runs the jobs one after another in one boot of the cell. Refuses if the guest does not get to the end."""
    transcript = _boot_once(cell, wanted)
    if not transcript.uname and not transcript.complaints:
        # Timers that an overworked host serves late can keep a kernel from getting as far as /init.
        say.step(f"{cell.name}: the kernel did not come up; once more")
        transcript = _boot_once(cell, wanted)
    frames.check(transcript, cell.name)
    return transcript


def _boot_once(cell: cells.Cell, wanted: list[jobs.Job]) -> frames.Transcript:
    kernel = cell.kernel()
    with tempfile.TemporaryDirectory(prefix="pinfold-oracle.") as temporary:
        folder = pathlib.Path(temporary)
        (folder / "initramfs").write_bytes(_initramfs(cell, kernel, wanted))
        for name in ("disk", "slot-disk"):
            with (folder / name).open("wb") as disk:
                disk.truncate(16 << 20)
        began = time.monotonic()
        _run(_command(cell, kernel, folder), _BOOT_SECONDS + sum(job.seconds for job in wanted), cell)
        transcript = frames.parse((folder / "console").read_bytes())
        say.step(f"{cell.name}: {len(transcript.outcomes)} runs in one boot of {time.monotonic() - began:.1f} s")
    return transcript


def _run(command: list[str], seconds: int, cell: cells.Cell) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired:
        raise say.Refusal(f"{cell.name}: the guest was still running after {seconds} s") from None
    if done.returncode != 0:
        raise say.Refusal(f"{cell.name}: QEMU ended with {done.returncode}: {done.stderr.strip()}")
