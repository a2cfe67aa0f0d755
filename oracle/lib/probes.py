"""Finds the probes and reads from their comments how they want to be run."""

import dataclasses
import fnmatch
import pathlib
import re

from . import cells, compile, jobs, say

_DIRECTIVE = re.compile(r"^\s*(?://|/\*|\*)\s*oracle: (\w+)\b(.*?)(?:\*/)?\s*$", re.M)
_SETTING = re.compile(r"\[(\w+)=([^\]]+)\]")
RANDOM = "random"


@dataclasses.dataclass
class Probe:
    """One program, and what its comments ask for."""

    source: pathlib.Path
    runs: list[tuple[tuple[str, ...], tuple[tuple[str, str], ...]]] = dataclasses.field(default_factory=list)
    only: list[str] = dataclasses.field(default_factory=list)
    never: list[str] = dataclasses.field(default_factory=list)
    trace: bool = False
    seconds: int = 60

    @property
    def name(self) -> str:
        return self.source.stem

    def runs_in(self, cell: cells.Cell) -> bool:
        def matches(patterns: list[str]) -> bool:
            return any(fnmatch.fnmatch(cell.name, pattern) for pattern in patterns)

        return (not self.only or matches(self.only)) and not matches(self.never)

    def jobs(self) -> list[jobs.Job]:
        return [jobs.Job(self.source, arguments, settings, trace=self.trace, seconds=self.seconds)
                for arguments, settings in self.runs or [((), ())]]


def _apply(probe: Probe, word: str, rest: str) -> None:
    match word:
        case "run":
            settings = tuple(_SETTING.findall(rest))
            for name, _ in settings:
                if name not in jobs.PARAMETERS:
                    raise say.Refusal(f"{probe.source.name}: {name!r} is no parameter that a run can set")
            probe.runs.append((tuple(_SETTING.sub("", rest).split()), settings))
        case "cells":
            probe.only += rest.split()
        case "without":
            probe.never += rest.split()
        case "trace":
            probe.trace = True
        case "seconds":
            probe.seconds = int(rest)
        case _:
            raise say.Refusal(f"{probe.source.name}: \"oracle: {word}\" means nothing")


def read(source: pathlib.Path) -> Probe:
    probe = Probe(source)
    for word, rest in _DIRECTIVE.findall(source.read_text()):
        _apply(probe, word, rest)
    return probe


def directed() -> list[Probe]:
    """All probes but the random one, by name."""
    sources = sorted(path for path in compile.PROBES.glob("*.c") if path.stem != RANDOM)
    if not sources:
        raise say.Refusal(f"there are no probes in {compile.PROBES}")
    return [read(source) for source in sources]


def random_source() -> pathlib.Path:
    return compile.PROBES / f"{RANDOM}.c"
