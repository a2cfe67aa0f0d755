"""Runs jobs under `pinfold run`, on the machine and with the devices that the guest has."""

import os
import pathlib
import re
import signal
import subprocess
import tempfile
import time

from . import cells, compile, frames, jobs, say

_BINARY = pathlib.Path(os.environ.get("PINFOLD", compile.ORACLE.parent / "build" / "pinfold"))


def _preset(cell: cells.Cell) -> str:
    known = subprocess.run([_BINARY, "machines"], capture_output=True, text=True, check=True).stdout
    name = cell.machine.pinfold_name
    if not re.search(rf"^\s*{re.escape(name)}\s", known, re.M):
        say.step(f"pinfold has no machine {name} yet: vtd stands in")
        return "vtd"
    return name


def _takes_kernel(generation: str, folder: pathlib.Path) -> bool:
    trial = folder / "trial.toml"
    trial.write_text(f'kernel = "{generation}"\n')
    taken = subprocess.run([_BINARY, "run", "--machine", trial, "--", "true"], capture_output=True).returncode == 0
    if not taken:
        say.step(f"pinfold has no kernel {generation} yet: its default stands in")
    return taken


class Runner:
    """Holds what all jobs of a cell have in common."""

    def __init__(self, cell: cells.Cell, folder: pathlib.Path) -> None:
        if not _BINARY.exists():
            raise say.Refusal(f"{_BINARY} is not there: ./dev build makes it")
        self._folder = folder
        self._head = f'preset = "{_preset(cell)}"\n'
        if _takes_kernel(cell.generation, folder):
            self._head += f'kernel = "{cell.generation}"\n'
        self._options = subprocess.run([_BINARY, "run", "--help"], capture_output=True, text=True).stdout
        self._disk = folder / "disk.raw"
        with self._disk.open("wb") as disk:
            disk.truncate(16 << 20)

    def _machine(self, job: jobs.Job) -> pathlib.Path:
        parameters = {"allow_unsafe_interrupts": "1", **dict(job.settings)}
        lines = [f"{name} = {_toml(name, value)}" for name, value in parameters.items()]
        path = self._folder / "machine.toml"
        path.write_text(self._head + '[host]\nmemlock = "inherit"\n[type1]\n' + "\n".join(lines) + "\n")
        return path

    def _command(self, job: jobs.Job, files: dict[str, pathlib.Path]) -> list[str]:
        words = [str(_BINARY), "run", "--machine", str(self._machine(job))]
        for bdf in cells.EDU:
            words += ["--device", f"edu,bdf={bdf},dma_mask=0xffffffffffffffff"]
        words += ["--device", f"nvme,bdf={cells.NVME},disk={self._disk}"]
        for option, path in files.items():
            if option in self._options:
                words += [option, str(path)]
        program = compile.program(job.source, "gcc", static=False)
        return [*words, "--", str(program), *job.arguments]

    def run(self, job: jobs.Job) -> frames.Outcome:
        outcome = frames.Outcome(job.name)
        files = {"--log": self._folder / "log"}
        if job.trace:
            files["--trace-iommu"] = self._folder / "trace"
        for path in files.values():
            path.unlink(missing_ok=True)
        began = time.monotonic()
        outcome.out, outcome.err, outcome.end = _run(self._command(job, files), job, self._folder)
        outcome.seconds = time.monotonic() - began
        outcome.log = [(4, line) for line in _lines(files["--log"])]
        outcome.trace = _lines(files["--trace-iommu"]) if job.trace else []
        return outcome


def _toml(name: str, value: str) -> str:
    if name == "dma_entry_limit":
        return str(int(value, 0))
    return "true" if value in ("1", "Y", "y") else "false"


def _lines(path: pathlib.Path) -> list[str]:
    return path.read_text(errors="replace").splitlines() if path.exists() else []


def _run(command: list[str], job: jobs.Job, folder: pathlib.Path) -> tuple[bytes, bytes, str]:
    stdin = folder / "stdin"
    stdin.write_bytes(job.stdin or b"")
    with stdin.open("rb") as stream:
        child = subprocess.Popen(command, stdin=stream, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                 cwd=folder, start_new_session=True)
        try:
            out, err = child.communicate(timeout=job.seconds)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            out, err = child.communicate()
            return out, err, f"took more than {job.seconds} s"
    code = child.returncode
    # pinfold ends as a shell would when the program died of a signal.
    if code > 128:
        return out, err, f"signal {code - 128}"
    return out, err, f"signal {-code}" if code < 0 else f"exit {code}"


def run_all(cell: cells.Cell, wanted: list[jobs.Job]) -> list[frames.Outcome]:
    with tempfile.TemporaryDirectory(prefix="pinfold-oracle.") as name:
        runner = Runner(cell, pathlib.Path(name))
        return [runner.run(job) for job in wanted]
