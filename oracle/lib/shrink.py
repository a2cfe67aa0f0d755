"""Reduces a block of operations that the two sides answer differently to the shortest that they still do.

Delta debugging (Zeller's ddmin), but with all candidates of a round in one boot, which costs more than the candidates.
"""

import pathlib
import re
import subprocess

from . import cells, compile, guest, pinfold, probes, say, streams, textdiff

_PER_BOOT = 128
_ROUNDS = 24

Operations = list[bytes]


def operations_of(seed: int, block: int) -> Operations:
    program = compile.program(probes.random_source(), "gcc", static=False)
    done = subprocess.run([program, "list", str(seed), str(block)], capture_output=True, check=True)
    return done.stdout.splitlines()


def _answers(out: bytes) -> list[bytes]:
    """One line per operation, without its number: that changes when others are left out."""
    return [re.sub(rb"^\d+ ", b"", line) for line in out.splitlines()]


def _differing(cell: cells.Cell, candidates: list[Operations]) -> list[bool]:
    wanted = [streams.replay_job(candidate) for candidate in candidates]
    real = guest.boot(cell, wanted).outcomes
    mine = pinfold.run_all(cell, wanted)
    return [(one.end, _answers(one.out)) != (other.end, _answers(other.out))
            for one, other in zip(real, mine, strict=True)]


def _first_difference(cell: cells.Cell, operations: Operations) -> Operations:
    """What comes after the first difference has no part in it."""
    job = streams.replay_job(operations)
    real = _answers(guest.boot(cell, [job]).outcomes[0].out)
    mine = _answers(pinfold.run(cell, job).out)
    for index, line in enumerate(real):
        if index >= len(mine) or mine[index] != line:
            return operations[:index + 1]
    return operations


def _without(operations: Operations, pieces: int) -> list[Operations]:
    """The operations, each time without another of so many pieces."""
    size = -(-len(operations) // pieces)
    return [operations[:start] + operations[start + size:] for start in range(0, len(operations), size)]


def shortest(cell: cells.Cell, operations: Operations) -> Operations:
    operations = _first_difference(cell, operations)
    pieces = _PER_BOOT
    for _ in range(_ROUNDS):
        pieces = min(pieces, len(operations))
        candidates = [candidate for candidate in _without(operations, pieces) if candidate]
        say.step(f"shrinking: {len(operations)} operations, {len(candidates)} candidates")
        found = [candidate for candidate, differs in zip(candidates, _differing(cell, candidates)) if differs] if candidates else []
        if found:
            operations = _combined(cell, operations, found)
            continue
        if pieces >= len(operations):
            return operations
        pieces = len(operations)
    return operations


def _combined(cell: cells.Cell, operations: Operations, found: list[Operations]) -> Operations:
    """Leaves out at once what can be left out alone, if the difference survives that."""
    kept = set(operations)
    for candidate in found:
        kept &= set(candidate)
    together = [operation for operation in operations if operation in kept]
    if len(found) > 1 and together and _differing(cell, [together])[0]:
        return together
    return min(found, key=len)


def as_program(operations: Operations) -> str:
    program = compile.program(probes.random_source(), "gcc", static=False)
    done = subprocess.run([program, "program"], input=b"\n".join(operations) + b"\n", capture_output=True)
    return done.stdout.decode(errors="replace")


def show(cell: cells.Cell, seed: int, block: int) -> None:
    """Prints the shortest list of operations of that block that differs, its difference, and a C program of it."""
    operations = shortest(cell, operations_of(seed, block))
    job = streams.replay_job(operations)
    real = guest.boot(cell, [job]).outcomes[0]
    mine = pinfold.run(cell, job)
    print(f"  == shortest: {len(operations)} operations of block {block} of seed {seed}; - kernel, + pinfold")
    for line in textdiff.lines(real.out.decode(errors="replace").splitlines(), mine.out.decode(errors="replace").splitlines(), 99):
        print(f"  {line}")
    path = pathlib.Path(f"oracle-{cell.name}-{seed}-{block}.c")
    text = as_program(operations)
    print("  == as a program:")
    print(text)
    path.write_text(text)
    print(f"  == also in {path}; oracle/run {cell.name} diff {path} runs it")
