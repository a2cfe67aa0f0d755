"""What `oracle/run` does: a few probes by hand, in one cell."""

import pathlib
import sys

from . import cells, frames, guest, jobs, pinfold, say, textdiff


def _job(words: list[str], trace: bool) -> jobs.Job:
    settings = []
    while words and words[0].startswith("["):
        name, _, value = words.pop(0).strip("[]").partition("=")
        if name not in jobs.PARAMETERS:
            raise say.Refusal(f"{name!r} is no parameter; there are {', '.join(jobs.PARAMETERS)}")
        settings.append((name, value))
    if not words:
        raise say.Refusal("a probe is missing")
    source = pathlib.Path(words[0]).absolute()
    if not source.exists():
        raise say.Refusal(f"there is no probe {words[0]}")
    return jobs.Job(source, tuple(words[1:]), tuple(settings), trace=trace, seconds=300)


def parse(words: list[str]) -> list[jobs.Job]:
    trace = "--trace" in words
    groups: list[list[str]] = [[]]
    for word in words:
        if word == "+":
            groups.append([])
        elif word != "--trace":
            groups[-1].append(word)
    return [_job(group, trace) for group in groups]


def _text(outcome: frames.Outcome) -> list[str]:
    """What two sides must agree on."""
    return [*outcome.out.decode(errors="replace").splitlines(), f"({outcome.end})"]


def _show(outcome: frames.Outcome) -> None:
    print(f"== {outcome.name}", file=sys.stderr)
    sys.stderr.write(outcome.err.decode(errors="replace"))
    sys.stderr.flush()
    print("\n".join(_text(outcome)))
    for level, text in outcome.log:
        print(f"log <{level}> {text}")
    for line in outcome.trace:
        print(f"trace {line}")
    sys.stdout.flush()


def _diff(kernel: list[frames.Outcome], ours: list[frames.Outcome]) -> int:
    differing = 0
    for real, mine in zip(kernel, ours, strict=True):
        lines = textdiff.lines(_text(real), _text(mine))
        differing += bool(lines)
        print(f"{'DIFFER' if lines else 'same  '} {real.name} ({real.seconds:.1f} s, {mine.seconds:.1f} s)")
        if lines:
            print("\n".join(lines))
    return 1 if differing else 0


def run(cell: cells.Cell, side: str, words: list[str]) -> int:
    wanted = parse(words)
    kernel = guest.boot(cell, wanted).outcomes if side != "pinfold" else []
    ours = pinfold.run_all(cell, wanted) if side != "kernel" else []
    if side == "diff":
        return _diff(kernel, ours)
    shown = kernel or ours
    for outcome in shown:
        _show(outcome)
    # A single probe's own status is passed on, so that it can be used in scripts.
    end = shown[-1].end.split()
    return int(end[1]) if end[0] == "exit" else 1
