"""Runs jobs under `pinfold run`, on the machine and with the devices that the guest has."""

import concurrent.futures
import dataclasses
import os
import pathlib
import re
import signal
import subprocess
import tempfile
import time

from . import cells, compile, frames, jobs, say

_DISK_BYTES = 16 << 20
_SLOT_GROUP = 100


@dataclasses.dataclass(frozen=True)
class Build:
    """A build of Pinfold: the folder with the tool and its libraries."""

    folder: pathlib.Path

    @property
    def tool(self) -> pathlib.Path:
        return self.folder / "pinfold"


DEFAULT = Build(pathlib.Path(os.environ.get("PINFOLD_BUILD", compile.ORACLE.parent / "build")))


def _toml(name: str, value: str) -> str:
    if name == "dma_entry_limit":
        return str(int(value, 0))
    return "true" if value in ("1", "Y", "y") else "false"


def _machine(cell: cells.Cell, job: jobs.Job) -> str:
    """As a machine file: the cell's preset, and what /init writes into the module's parameters."""
    parameters = {"allow_unsafe_interrupts": "1", **dict(job.settings)}
    lines = [f'preset = "{cell.machine.pinfold_name}"', f'kernel = "{cell.generation}"', "[host]", 'memlock = "inherit"']
    if not cell.remaps_interrupts:
        lines += ["[iommu]", "remaps_interrupts = false"]
    lines += ["[type1]", *(f"{name} = {_toml(name, value)}" for name, value in parameters.items())]
    return "\n".join(lines) + "\n"


def _command(build: Build, cell: cells.Cell, job: jobs.Job, folder: pathlib.Path) -> list[str]:
    words = [str(build.tool), "run", "--machine", str(folder / "machine.toml"), "--log", str(folder / "log"),
             f"--report={folder / 'report'}"]
    for bdf in cells.EDU:
        words += ["--device", f"edu,bdf={bdf},dma_mask=0xffffffffffffffff"]
    words += ["--device", f"nvme,bdf={cells.NVME},disk={folder / 'disk.raw'},aer=no"]
    words += ["--device", f"virtio-net,bdf={cells.VIRTIO_NET}"]
    words += ["--device", f"virtio-net,bdf={cells.MODERN_NET},mode=modern"]
    # In one slot behind a port they are one group on x86; the kernel that is built for arm64 parts them.
    slot = "" if cell.machine.is_arm else f",group={_SLOT_GROUP}"
    words += ["--device", f"nvme,bdf={cells.SLOT_NVME}{slot},disk={folder / 'slot-disk.raw'}"]
    words += ["--device", f"edu,bdf={cells.SLOT_EDU}{slot},dma_mask=0xffffffffffffffff"]
    words += ["--device", f"edu,bdf={cells.LONE_EDU},dma_mask=0xffffffffffffffff"]
    if job.trace:
        words += ["--trace-iommu", str(folder / "trace")]
    program = compile.program(job.source, "gcc", static=False)
    return [*words, "--", str(program), *job.arguments]


def _lines(path: pathlib.Path) -> list[str]:
    return path.read_text(errors="replace").splitlines() if path.exists() else []


def _faults(path: pathlib.Path) -> int | None:
    """The report's count of DMA faults."""
    for line in _lines(path):
        if found := re.match(r"\s*faults\s+(none|[\d,]+)$", line):
            return 0 if found[1] == "none" else int(found[1].replace(",", ""))
    return None


def _end(code: int) -> str:
    # pinfold ends as a shell would when the program died of a signal.
    if code > 128:
        return f"signal {code - 128}"
    return f"signal {-code}" if code < 0 else f"exit {code}"


def _run(command: list[str], job: jobs.Job, folder: pathlib.Path, environment: dict[str, str]) -> tuple[bytes, bytes, str]:
    (folder / "stdin").write_bytes(job.stdin or b"")
    with (folder / "stdin").open("rb") as stdin:
        child = subprocess.Popen(command, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=folder,
                                 start_new_session=True, env=os.environ | environment)
        try:
            out, err = child.communicate(timeout=job.seconds)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            out, err = child.communicate()
            return out, err, f"took more than {job.seconds} s"
    return out, err, _end(child.returncode)


def run(cell: cells.Cell, job: jobs.Job, build: Build = DEFAULT, environment: dict[str, str] | None = None) -> frames.Outcome:
    with tempfile.TemporaryDirectory(prefix="pinfold-oracle.") as name:
        folder = pathlib.Path(name)
        (folder / "machine.toml").write_text(_machine(cell, job))
        for disk_name in ("disk.raw", "slot-disk.raw"):
            with (folder / disk_name).open("wb") as disk:
                disk.truncate(_DISK_BYTES)
        outcome = frames.Outcome(job.name)
        began = time.monotonic()
        outcome.out, outcome.err, outcome.end = _run(_command(build, cell, job, folder), job, folder, environment or {})
        outcome.seconds = time.monotonic() - began
        outcome.log = [(4, line) for line in _lines(folder / "log")]
        outcome.trace = _lines(folder / "trace")
        outcome.faults = _faults(folder / "report")
        return outcome


def run_all(cell: cells.Cell, wanted: list[jobs.Job], build: Build = DEFAULT) -> list[frames.Outcome]:
    """In order, though several run at a time: each has a machine of its own."""
    if not build.tool.exists():
        raise say.Refusal(f"{build.tool} is not there: ./dev build makes it")
    for source in {job.source for job in wanted}:
        compile.program(source, "gcc", static=False)
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(lambda job: run(cell, job, build), wanted))
