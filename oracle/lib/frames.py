"""Reads what the guest's /init says: frames, one a line, and around them whatever else reached the console."""

import dataclasses
from . import say


@dataclasses.dataclass
class Outcome:
    """What one job did."""

    name: str
    out: bytes = b""
    err: bytes = b""
    log: list[tuple[int, str]] = dataclasses.field(default_factory=list)  # kernel log: level and text
    trace: list[str] = dataclasses.field(default_factory=list)
    end: str = "did not end"  # "exit 0", "signal 11"
    seconds: float = 0.0
    faults: int | None = None  # that the IOMMU recorded, where it can be asked


@dataclasses.dataclass
class Transcript:
    """One boot."""

    uname: str = ""
    boot_log: list[tuple[int, str]] = dataclasses.field(default_factory=list)
    outcomes: list[Outcome] = dataclasses.field(default_factory=list)
    complaints: list[str] = dataclasses.field(default_factory=list)
    console: list[str] = dataclasses.field(default_factory=list)  # lines that are no frames
    finished: bool = False


def _level_and_text(payload: bytes) -> tuple[int, str]:
    level, _, text = payload.decode(errors="replace").partition(" ")
    return int(level), text


def _take_frame(transcript: Transcript, job: Outcome | None, kind: str, payload: bytes) -> Outcome | None:
    """Returns the job that the next frames belong to."""
    match kind:
        case "B":
            job = Outcome(payload.decode())
            transcript.outcomes.append(job)
        case "K":
            (job.log if job else transcript.boot_log).append(_level_and_text(payload))
        case "U":
            transcript.uname = payload.decode()
        case "!":
            transcript.complaints.append(payload.decode(errors="replace"))
        case "Z":
            transcript.finished = True
        case _ if job is None:
            transcript.complaints.append(f"frame {kind} outside a job")
        case "O" | "o":
            job.out += payload + (b"\n" if kind == "O" else b"")
        case "E" | "e":
            job.err += payload + (b"\n" if kind == "E" else b"")
        case "T":
            job.trace.append(payload.decode(errors="replace"))
        case "D":
            job.seconds = float(payload)
        case "X":
            job.end = payload.decode()
            return None
        case _:
            transcript.complaints.append(f"frame {kind} is unknown")
    return job


def parse(text: bytes) -> Transcript:
    transcript = Transcript()
    job = None
    for line in text.split(b"\n"):
        if len(line) >= 3 and line[0:1] == b"@" and line[2:3] == b" ":
            job = _take_frame(transcript, job, chr(line[1]), line[3:])
        elif line.strip():
            transcript.console.append(line.decode(errors="replace").rstrip("\r"))
    return transcript


def _stream(kind: str, text: bytes) -> list[bytes]:
    *lines, tail = text.split(b"\n")
    frames = [b"@%c %s\n" % (kind.encode(), line) for line in lines]
    return frames + ([b"@%c %s\n" % (kind.lower().encode(), tail)] if tail else [])


def write(outcome: Outcome) -> bytes:
    """The job as the guest would have sent it."""
    parts = [b"@B %s\n" % outcome.name.encode(), *_stream("O", outcome.out), *_stream("E", outcome.err)]
    parts += [b"@K %d %s\n" % (level, text.encode()) for level, text in outcome.log]
    parts += [b"@T %s\n" % line.encode() for line in outcome.trace]
    return b"".join([*parts, b"@X %s\n" % outcome.end.encode()])


def check(transcript: Transcript, cell_name: str) -> None:
    """Refuses a boot that did not run to its end: nothing may be concluded from half of one."""
    if transcript.finished and not transcript.complaints:
        return
    said = transcript.complaints + transcript.console[-30:]
    raise say.Refusal(f"{cell_name}: the guest did not run to its end:\n  " + "\n  ".join(said or ["(it said nothing)"]))
