"""Compares what the two sides of a cell did, and keeps count."""

import dataclasses

from . import deviations, frames, log, textdiff

_SHOWN = 60  # lines of a difference


@dataclasses.dataclass
class Tally:
    """Of a whole run of the oracle."""

    same: int = 0
    differing: int = 0
    troubles: list[str] = dataclasses.field(default_factory=list)

    @property
    def runs(self) -> int:
        return self.same + self.differing


def _output(outcome: frames.Outcome) -> list[str]:
    return [*outcome.out.decode(errors="replace").splitlines(), f"({outcome.end})"]


def _log(outcome: frames.Outcome) -> list[str]:
    return [f"<{level}> {text}" for level, text in outcome.log]


def log_differences(real: frames.Outcome, mine: frames.Outcome) -> list[str]:
    """REQUIRES: both are prepared. Lines come in their order, but where they stand between others is chance."""
    return textdiff.lines(log.compared(real.log), log.compared(mine.log))


def differences(cell_name: str, probe: str, real: frames.Outcome, mine: frames.Outcome) -> list[str]:
    """Empty if both printed, ended and used their IOMMU in the same way. Both are prepared as for a recording."""
    found = _cut(textdiff.lines(*(deviations.kept(cell_name, probe, _output(side)) for side in (real, mine))))
    traced = textdiff.lines(*(deviations.kept(cell_name, probe, side.trace) for side in (real, mine)))
    found += ["IOMMU calls:", *_cut(traced)] if traced else []
    said = log_differences(real, mine)
    found += ["kernel log:", *_cut(said)] if said else []
    if found and real.end != mine.end and mine.err:
        found += ["error stream under pinfold:", *mine.err.decode(errors="replace").splitlines()[-5:]]
    if found and not said:
        logs = textdiff.lines(_log(real), _log(mine))
        found += ["all of the log:", *_cut(logs)] if logs else []
    return found


def _cut(lines: list[str]) -> list[str]:
    if len(lines) <= _SHOWN:
        return lines
    return [*lines[:_SHOWN], f"... and {len(lines) - _SHOWN} more lines"]


def report(cell_name: str, probe: str, real: list[frames.Outcome], mine: list[frames.Outcome], tally: Tally) -> None:
    """One line for a probe in a cell, and below it what differs."""
    differing = []
    for one, other in zip(real, mine, strict=True):
        found = differences(cell_name, probe, one, other)
        if found:
            differing.append((one.name, found))
    tally.same += len(real) - len(differing)
    tally.differing += len(differing)
    lines = sum(len(_output(outcome)) for outcome in real)
    verdict = "DIFFER" if differing else "same  "
    seconds = sum(outcome.seconds for outcome in real), sum(outcome.seconds for outcome in mine)
    print(f"{verdict} {cell_name:24} {probe:16} {len(real):3} runs {lines:7} lines {seconds[0]:6.1f} s {seconds[1]:6.1f} s", flush=True)
    for name, found in differing:
        print(f"  -- {name}: - kernel, + pinfold")
        for line in found:
            print(f"  {line}")
