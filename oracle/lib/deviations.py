"""Lines of probes in which Pinfold differs on purpose, or because a machine does and no rule: probes/deviations."""

import fnmatch
import pathlib
import re

from . import say

_FILE = pathlib.Path(__file__).resolve().parent.parent / "probes" / "deviations"


def _entries() -> list[tuple[str, str, re.Pattern[str]]]:
    entries = []
    for number, line in enumerate(_FILE.read_text().splitlines(), 1):
        words = line.split(maxsplit=2)
        if not words or words[0].startswith("#"):
            continue
        if len(words) != 3:
            raise say.Refusal(f"{_FILE.name}:{number}: a cell, a probe and a pattern are wanted")
        entries.append((words[0], words[1], re.compile(words[2])))
    return entries


_ALL = _entries()


def kept(cell_name: str, probe: str, lines: list[str]) -> list[str]:
    """The lines that are to be compared."""
    patterns = [pattern for cells, name, pattern in _ALL if fnmatch.fnmatch(cell_name, cells) and fnmatch.fnmatch(probe, name)]
    return [line for line in lines if not any(pattern.search(line) for pattern in patterns)]
