"""Recordings: what a kernel said, kept so that machines without that kernel can compare with it.

One file per cell and probe, oracle/recordings/CELL/PROBE.xz: a head of "key: value" lines that says what was booted
and what was run, an empty line, and the frames of the runs as the guest sent them, but for trace events, which are
normalised. Only a boot makes one.
"""

import dataclasses
import datetime
import lzma
import pathlib

from . import cells, compile, frames, guest, log, say, trace

FOLDER = compile.ORACLE / "recordings"


@dataclasses.dataclass
class Recording:
    head: dict[str, str]
    outcomes: list[frames.Outcome]


def path_of(cell: cells.Cell, probe: str) -> pathlib.Path:
    return FOLDER / cell.name / f"{probe}.xz"


def has_any(cell: cells.Cell) -> bool:
    return any((FOLDER / cell.name).glob("*.xz"))


def prepared(outcome: frames.Outcome) -> frames.Outcome:
    """As it is compared: nothing in it that two boots of one kernel would not share, but for the error stream."""
    return dataclasses.replace(outcome, log=log.normalised(outcome.log),
                               trace=trace.normalised(outcome.trace, piecewise="[disable_hugepages=1]" in outcome.name))


def write(cell: cells.Cell, source: pathlib.Path, booted: frames.Transcript, outcomes: list[frames.Outcome]) -> None:
    """REQUIRES: the outcomes are of that boot."""
    if not booted.finished or not booted.uname:
        raise say.Refusal(f"{cell.name}: only a kernel that ran to its end makes a recording")
    head = {
        "probe": source.name,
        "source": compile.source_hash(source),
        "kernel": booted.uname,
        "package": (cell.kernel() / "package").read_text().strip().replace("\n", ", "),
        "qemu": guest.qemu_version(cell),
        "date": datetime.date.today().isoformat(),
    }
    text = "".join(f"{key}: {value}\n" for key, value in head.items()).encode() + b"\n"
    text += b"".join(frames.write(dataclasses.replace(prepared(outcome), err=b"")) for outcome in outcomes)
    path = path_of(cell, source.stem)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(lzma.compress(text, preset=9 | lzma.PRESET_EXTREME))


def read(cell: cells.Cell, source: pathlib.Path) -> Recording:
    """Refuses a recording of another version of the probe: it would answer questions that nobody asks any more."""
    path = path_of(cell, source.stem)
    again = f"./dev oracle --record {cell.name} makes it"
    if not path.exists():
        raise say.Refusal(f"{cell.name} has no recording of {source.name}; {again}")
    text = lzma.decompress(path.read_bytes())
    top, _, body = text.partition(b"\n\n")
    head = dict(line.split(": ", 1) for line in top.decode().splitlines())
    if head["source"] != compile.source_hash(source):
        raise say.Refusal(f"{cell.name}'s recording of {source.name} is of another version of it; {again} anew")
    return Recording(head, frames.parse(body).outcomes)
