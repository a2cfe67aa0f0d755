"""Which calls answered which errno, and which rules were checked: read from the lines that probes print."""

import dataclasses
import fnmatch
import re
from collections.abc import Iterable

from . import cells, compile, frames, say

_LINE = re.compile(r"^\[([^\]]*)\] (?:([A-Za-z_0-9]+)\(.*\)[^=]*= (-?\w+))?")
_RULE = re.compile(r"\*\*([A-Z]-\d+)\*\*( †)?")
_SECTION = re.compile(r"^### (\d+\.\d+) ", re.M)  # its numbered list can be cited
_PAGES = [compile.ORACLE.parent / "docs" / name for name in ("type1.md", "vfio-pci.md")]
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


def _lines() -> list[list[str]]:
    if not REACHABLE.exists():
        raise say.Refusal(f"{REACHABLE} is not there: it says what a kernel must have shown")
    stripped = (line.split("#")[0].split() for line in REACHABLE.read_text().splitlines())
    return [words for words in stripped if len(words) >= 2]


def _documented_rules() -> set[str]:
    """Those that the documents define and do not mark with a dagger: no machine of ours can show these."""
    found = set()
    for page in _PAGES:
        found.update(rule for rule, dagger in _RULE.findall(page.read_text()) if not dagger)
    return found


def _never() -> set[str]:
    return {words[1] for words in _lines() if words[0] == "never"}


def expected(cell: cells.Cell) -> list[tuple[str, str]]:
    """What must be seen in this cell: (call, errno) pairs, and ("rule", number)."""
    wanted = []
    for words in _lines():
        if words[0] != "never" and any(fnmatch.fnmatch(cell.name, pattern) for pattern in words[2:] or ["*"]):
            wanted.append((words[0], words[1]))
    return wanted + [("rule", rule) for rule in sorted(_documented_rules() - _never())]


def missing(cell: cells.Cell, coverage: Coverage) -> list[str]:
    """What should have been seen on the kernel's side and was not."""
    def seen(what: str, value: str) -> bool:
        return value in coverage.rules if what == "rule" else (what, value) in coverage.pairs

    return [f"{what} {value}" for what, value in expected(cell) if not seen(what, value)]


def mistaken(coverage: Coverage) -> list[str]:
    """What probes cite and no document has, and what they have shown although it is said that nobody can."""
    pages = [page.read_text() for page in _PAGES]
    known = {rule for page in pages for rule, _ in _RULE.findall(page)} | {section for page in pages for section in _SECTION.findall(page)}
    return ([f"{rule} is no rule" for rule in sorted(coverage.rules - known)]
            + [f"{rule} can be seen after all" for rule in sorted(coverage.rules & _never())])
