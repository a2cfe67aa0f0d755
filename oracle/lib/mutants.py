"""Finds the checks in a C++ source and rewrites it so that each can be broken at run time.

One build holds all mutants: PINFOLD_MUTANT in the environment chooses one. A check is `if (CONDITION) return fail(...);`,
or `TRY(...);` whose value nobody takes. It can be removed, inverted, swapped with the check that follows it at once, and its errno
can be exchanged for another.
"""

import dataclasses
import re

_SKIPPED = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\])*"|\'(?:\\.|[^\'\\])+\'', re.S)
_BRACKETS = {"(": ")", "{": "}", "[": "]"}
HEADER = """#pragma once
// Chooses at run time which check is broken; lib/mutants.py put it here.
#include <fcntl.h>
#include <sys/mman.h>

#include <cstdlib>

#include "base/errno.hpp"

namespace pinfold::mutation {
inline int chosen()
{
    static int const number = [] {
        char const* const text = std::getenv("PINFOLD_MUTANT");
        return text == nullptr ? 0 : std::atoi(text);
    }();
    return number;
}
// Which places were run at all, a byte each, in the file that PINFOLD_MUTANT_SEEN names.
inline unsigned char* seen()
{
    static unsigned char* const bytes = [] {
        char const* const path = std::getenv("PINFOLD_MUTANT_SEEN");
        int const fd = path == nullptr ? -1 : ::open(path, O_RDWR | O_CLOEXEC);
        void* const map = fd < 0 ? MAP_FAILED : ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        return map == MAP_FAILED ? nullptr : static_cast<unsigned char*>(map);
    }();
    return bytes;
}
inline bool is(int number)
{
    if (unsigned char* const bytes = seen()) bytes[number] = 1;
    return chosen() == number;
}
inline bool check(int removed, int inverted, bool condition)
{
    if (is(removed)) return false;
    return is(inverted) ? !condition : condition;
}
inline Errno other(int number, Errno error) { return is(number) ? Errno::xdev : error; }
}  // namespace pinfold::mutation
"""


@dataclasses.dataclass(frozen=True)
class Mutant:
    number: int
    kind: str  # removed, inverted, swapped, errno
    file: str
    line: int
    text: str

    @property
    def name(self) -> str:
        return f"{self.file}:{self.line}: {self.kind}: {self.text}"

    @property
    def key(self) -> str:
        """Without the line's number, which edits elsewhere change."""
        return f"{self.file}: {self.kind}: {self.text}"


@dataclasses.dataclass
class _Check:
    start: int
    end: int
    condition: tuple[int, int] | None  # within the parentheses; None for TRY


class Rewriter:
    """Collects the mutants of several files under running numbers."""

    def __init__(self) -> None:
        self.mutants: list[Mutant] = []

    def _new(self, kind: str, file: str, source: str, check: _Check) -> int:
        line = source.count("\n", 0, check.start) + 1
        text = " ".join(source[check.start:check.end].split())
        self.mutants.append(Mutant(len(self.mutants) + 1, kind, file, line, text))
        return self.mutants[-1].number

    def rewrite(self, file: str, source: str) -> str:
        pieces = []
        position = 0
        for chain in _chains(source):
            pieces += [source[position:chain[0].start], self._chain(file, source, chain)]
            position = chain[-1].end
        if not pieces:
            return source
        return '#include "base/mutation.hpp"\n' + "".join(pieces) + source[position:]

    def _chain(self, file: str, source: str, chain: list[_Check]) -> str:
        """Checks in a row: as they are, or with two neighbours the other way round."""
        broken = [self._broken(file, source, check) for check in chain]
        text = "{ " + "\n".join(broken) + " }" if len(chain) > 1 else broken[0]
        for index in range(len(chain) - 1):
            if _same_answer(source, chain[index], chain[index + 1]):
                continue
            number = self._new("swapped", file, source, chain[index])
            order = [*broken[:index], broken[index + 1], broken[index], *broken[index + 2:]]
            text = f"if (mutation::is({number})) {{ " + "\n".join(order) + f" }} else {text}"
        return text

    def _broken(self, file: str, source: str, check: _Check) -> str:
        if check.condition is None:
            removed = self._new("removed", file, source, check)
            return f"if (!mutation::is({removed})) {{ {source[check.start:check.end]} }}"
        start, end = check.condition
        init, condition = _split_init(source[start:end])
        removed = self._new("removed", file, source, check)
        inverted = self._new("inverted", file, source, check)
        errno = self._new("errno", file, source, check)
        body = re.sub(r"fail\((.*)\);", rf"fail(mutation::other({errno}, \1));", source[end + 1:check.end], flags=re.S)
        return f"if ({init}mutation::check({removed}, {inverted}, static_cast<bool>({condition}))) {body}"


def _split_init(condition: str) -> tuple[str, str]:
    """`init; condition`, as an if may have it."""
    depth = 0
    for index, letter in enumerate(condition):
        depth += letter in "([{"
        depth -= letter in ")]}"
        if letter == ";" and depth == 0:
            return condition[:index + 1] + " ", condition[index + 1:]
    return "", condition


def _blanked(source: str) -> str:
    """Comments and literals as spaces, so that brackets can be counted."""
    return _SKIPPED.sub(lambda found: re.sub(r"[^\n]", " ", found[0]), source)


def _closing(text: str, opening: int) -> int:
    """Where the bracket that opens there is closed."""
    depth = 0
    for index in range(opening, len(text)):
        depth += text[index] in "([{"
        depth -= text[index] in ")]}"
        if depth == 0:
            return index
    raise ValueError("unbalanced brackets")


def _checks(source: str) -> list[_Check]:
    text = _blanked(source)
    found = []
    for opening in re.finditer(r"(?<![\w:])if \(", text):
        close = _closing(text, opening.end() - 1)
        body = re.compile(r"\s*(\{\s*)?return fail\(").match(text, close + 1)
        is_else = re.search(r"\belse\s*$", text[:opening.start()]) is not None
        condition = text[opening.end():close]
        declares = re.match(r"\s*(auto|[A-Z]\w*)( const)?[*&]? \w+ =", condition) and ";" not in condition
        if body is None or is_else or declares:
            continue
        end = text.index(";", _closing(text, text.index("(", text.index("fail", body.start())))) + 1
        if body[1]:
            closing = re.compile(r"\s*\}").match(text, end)
            if closing is None:
                continue
            end = closing.end()
        if re.compile(r"\s*else\b").match(text, end):
            continue
        found.append(_Check(opening.start(), end, (opening.end(), close)))
    for opening in re.finditer(r"(?<=\n)( +)TRY\(", text):
        start = opening.end() - 4
        close = _closing(text, opening.end() - 1)
        before = text[:opening.start()].rstrip()
        # Only where a statement of its own begins, not the second line of an if.
        if text[close + 1:close + 2] == ";" and before and before[-1] in ";{}":
            found.append(_Check(start, close + 2, None))
    return sorted(found, key=lambda check: check.start)


def _chains(source: str) -> list[list[_Check]]:
    text = _blanked(source)
    chains: list[list[_Check]] = []
    for check in _checks(source):
        if chains and not text[chains[-1][-1].end:check.start].strip():
            chains[-1].append(check)
        else:
            chains.append([check])
    return chains


def _same_answer(source: str, one: _Check, other: _Check) -> bool:
    """Two conditions with one errno: which comes first cannot be told."""
    def answer(check: _Check) -> str | None:
        return source[check.condition[1]:check.end].strip(") \n{}") if check.condition else None

    return answer(one) is not None and answer(one) == answer(other)
