"""Which calls answered which errno, and which rules were checked: read from the lines that probes print."""

import dataclasses
import fnmatch
import re
from collections.abc import Iterable

from . import cells, compile, frames, say

_LINE = re.compile(r"^\[([^\]]*)\] (?:([A-Za-z_0-9]+)\(.*\)[^=]*= (-?\w+))?")
REACHABLE = compile.PROBES / "reachable"


@dataclasses.dataclass
class Coverage:
    rules: set[str] = dataclasses.field(default_factory=set)
    pairs: set[tuple[str, str]] = dataclasses.field(default_factory=set)

    def add(self, outcomes: Iterable[frames.Outcome]) -> None:
        for outcome in outcomes:
            for line in outcome.out.decode(errors="replace").splitlines():
                self._add_line(line)

    def _add_line(self, line: str) -> None:
        found = _LINE.match(line)
        if found is None:
            return
        self.rules.update(found[1].split())
        if found[2]:
            # Numbers are successes, whatever they count; errnos have names.
            self.pairs.add((found[2], found[3] if found[3].startswith("E") else "0"))


def expected(cell: cells.Cell) -> list[tuple[str, str]]:
    """What the probes' list of reachable rules and pairs asks of this cell."""
    if not REACHABLE.exists():
        raise say.Refusal(f"{REACHABLE} is not there: it says what a kernel must have shown")
    wanted = []
    for line in REACHABLE.read_text().splitlines():
        words = line.split("#")[0].split()
        if len(words) < 2:
            continue
        if any(fnmatch.fnmatch(cell.name, pattern) for pattern in words[2:] or ["*"]):
            wanted.append((words[0], words[1]))
    return wanted


def missing(cell: cells.Cell, coverage: Coverage) -> list[str]:
    """What should have been seen on the kernel's side and was not."""
    def seen(what: str, value: str) -> bool:
        return value in coverage.rules if what == "rule" else (what, value) in coverage.pairs

    return [f"{what} {value}" for what, value in expected(cell) if not seen(what, value)]
