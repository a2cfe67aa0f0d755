"""Makes the iommu:map and iommu:unmap events of two sides comparable.

How many events a mapping takes depends on which physical pages the allocator gave out. So what is compared is what
does not: in each stretch of maps (and each of unmaps) the ranges, put together where they touch; and for maps, which
IOVAs share a page with which, by numbers that pages get when they first appear and lose when nothing maps them.
"""

import hashlib
import re
from collections.abc import Iterator

_GUEST = re.compile(r"(map|unmap) ([0-9a-f]+) ([0-9a-f]+) ([0-9a-f]+)")
_OURS = re.compile(r"(map) iova=0x([0-9a-f]+) paddr=0x([0-9a-f]+) size=0x([0-9a-f]+)"
                   r"|(unmap) iova=0x([0-9a-f]+) size=0x([0-9a-f]+) unmapped_size=0x([0-9a-f]+)")
_UNIT = 4096


Event = tuple[str, int, int, int, int]  # kind, iova, paddr, size, unmapped size


def parse(lines: list[str]) -> Iterator[Event]:
    for line in lines:
        found = _GUEST.fullmatch(line) or _OURS.fullmatch(line)
        if found is None:
            yield ("?" + line, 0, 0, 0, 0)
            continue
        kind, *numbers = (text for text in found.groups() if text is not None)
        first, second, third = (int(text, 16) for text in numbers)
        yield (kind, first, second, third, 0) if kind == "map" else (kind, first, 0, second, third)


def _stretches(events: Iterator[Event]) -> Iterator[list[Event]]:
    stretch: list[Event] = []
    for event in events:
        if stretch and stretch[-1][0] != event[0]:
            yield stretch
            stretch = []
        stretch.append(event)
    if stretch:
        yield stretch


def _joined(ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """(start, end) pairs, those that touch put together; one range twice stays twice."""
    open_ends: list[list[int]] = []
    for start, end in sorted(ranges):
        for known in open_ends:
            if known[1] == start:
                known[1] = end
                break
        else:
            open_ends.append([start, end])
    return sorted((start, end) for start, end in open_ends)


class _Pages:
    """Gives physical pages numbers that do not depend on where they lie."""

    def __init__(self) -> None:
        self._numbers: dict[int, list[int]] = {}  # page -> [its number, how many IOVAs map it]
        self._behind: dict[int, list[int]] = {}  # IOVA page -> pages, one per domain
        self._next = 0

    def map(self, iova: int, paddr: int) -> int:
        entry = self._numbers.get(paddr)
        if entry is None:
            entry = self._numbers[paddr] = [self._next, 0]
            self._next += 1
        entry[1] += 1
        self._behind.setdefault(iova, []).append(paddr)
        return entry[0]

    def unmap(self, iova: int) -> None:
        behind = self._behind.get(iova)
        if not behind:
            return
        paddr = behind.pop()
        if not behind:
            del self._behind[iova]
        self._numbers[paddr][1] -= 1
        if self._numbers[paddr][1] == 0:
            del self._numbers[paddr]


def _maps(stretch: list[Event], pages: _Pages, unit: int) -> list[str]:
    numbers: dict[int, list[int]] = {}
    for _, iova, paddr, size, _ in sorted(stretch):
        for offset in range(0, size, unit):
            numbers.setdefault(iova + offset, []).append(pages.map(iova + offset, paddr + offset))
    lines = []
    for start, end in _joined([(iova, iova + size) for _, iova, _, size, _ in stretch]):
        shown = [numbers[iova].pop(0) for iova in range(start, end, unit)]
        # Numbers relative to the first: a page more or less earlier on must not show everywhere.
        shape = ",".join(str(number - shown[0]) for number in shown)
        lines.append(f"map {start:#x} size {end - start:#x} pages {hashlib.sha256(shape.encode()).hexdigest()[:8]}")
    return lines


def _unmaps(stretch: list[Event], pages: _Pages, unit: int) -> list[str]:
    lines = []
    for _, iova, _, _, unmapped in stretch:
        for offset in range(0, unmapped, unit):
            pages.unmap(iova + offset)
    for start, end in _joined([(iova, iova + unmapped) for _, iova, _, _, unmapped in stretch if unmapped]):
        lines.append(f"unmap {start:#x} size {end - start:#x}")
    lines += [f"unmap {iova:#x} got nothing of {size:#x}" for _, iova, _, size, unmapped in stretch if not unmapped]
    return lines


def normalised(lines: list[str], piecewise: bool = False, unit: int = _UNIT) -> list[str]:
    """piecewise: maps are of one page each whatever lies where, so their number counts too."""
    pages = _Pages()
    result = []
    for stretch in _stretches(parse(lines)):
        kind = stretch[0][0]
        if kind.startswith("?"):
            result += [event[0] for event in stretch]
        else:
            result += (_maps if kind == "map" else _unmaps)(stretch, pages, unit)
            if piecewise and kind == "map":
                result.append(f"in {len(stretch)} calls")
    return result
