"""Reduces a block of operations that the two sides answer differently to the shortest that they still do.

Delta debugging (Zeller's ddmin), but with all candidates of a round in one boot, which costs more than the candidates.
"""

import concurrent.futures
import pathlib
import re
import subprocess

from . import cells, compile, guest, pinfold, probes, say, streams, textdiff

_PER_BOOT = 64
_ROUNDS = 24
_SETTING_UP = 14  # operations with which a block opens its files and lays out its memory
_QUESTIONS = {b"GET_INFO", b"CHECK_EXTENSION", b"GET_STATUS", b"UNKNOWN", b"AVAILABLE", b"LOCKED", b"READ"}

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
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        booting = pool.submit(guest.boot, cell, wanted)
        mine = pinfold.run_all(cell, wanted)
        real = booting.result().outcomes
    return [(one.end, _answers(one.out)) != (other.end, _answers(other.out))
            for one, other in zip(real, mine, strict=True)]


def _up_to_first_difference(cell: cells.Cell, operations: Operations) -> tuple[Operations, list[bytes]]:
    """What comes after the first difference has no part in it. With the kernel's answers."""
    job = streams.replay_job(operations)
    real = _answers(guest.boot(cell, [job]).outcomes[0].out)
    mine = _answers(pinfold.run(cell, job).out)
    for index, line in enumerate(real):
        if index >= len(mine) or mine[index] != line:
            return operations[:index + 1], real[:index + 1]
    return operations, real


def _name(operation: bytes) -> bytes:
    return operation.split(b" ")[1].split(b"(")[0]


def _guesses(operations: Operations, answers: list[bytes]) -> list[Operations]:
    """What most often is not needed: calls that failed, questions, all but the start and the end."""
    last = operations[-1:]
    succeeded = [operation for operation, answer in zip(operations[:-1], answers)
                 if not re.search(rb" = (E[A-Z]+|left out)", answer)]
    calm = [operation for operation in succeeded if _name(operation) not in _QUESTIONS]
    found = [some + last for some in (succeeded, calm)]
    for basis in (calm, operations[:-1]):
        start = basis[:_SETTING_UP]
        length = 1
        while length < len(basis) - len(start):
            found.append(start + basis[-length:] + last)
            length *= 2
    return found


def _pieces(operations: Operations, count: int) -> list[Operations]:
    size = -(-len(operations) // count)
    return [operations[start:start + size] for start in range(0, len(operations), size)]


def _without(operations: Operations, pieces: list[Operations]) -> Operations:
    dropped = {operation for piece in pieces for operation in piece}  # their numbers make them different
    return [operation for operation in operations if operation not in dropped]


def _shortest_differing(cell: cells.Cell, candidates: list[Operations]) -> Operations | None:
    wanted = [candidate for candidate in candidates if candidate]
    if not wanted:
        return None
    say.step(f"shrinking: {len(wanted)} candidates of up to {max(map(len, wanted))} operations")
    differing = [candidate for candidate, differs in zip(wanted, _differing(cell, wanted)) if differs]
    return min(differing, key=len, default=None)


def _round(cell: cells.Cell, operations: Operations, count: int) -> Operations | None:
    """Leaves out every piece that can go, or as many of these as can go together: two boots."""
    pieces = _pieces(operations, count)
    candidates = [_without(operations, [piece]) for piece in pieces]
    say.step(f"shrinking: {len(operations)} operations in {len(pieces)} pieces")
    needless = [piece for piece, differs in zip(pieces, _differing(cell, candidates)) if differs]
    if not needless:
        return None
    together = [_without(operations, needless[start:end]) for start in (0, len(needless) // 2)
                for end in range(start + 1, len(needless) + 1)]
    return _shortest_differing(cell, together)


def shortest(cell: cells.Cell, operations: Operations) -> Operations:
    operations, answers = _up_to_first_difference(cell, operations)
    operations = _shortest_differing(cell, _guesses(operations, answers)) or operations
    count = _PER_BOOT
    for _ in range(_ROUNDS):
        count = min(count, len(operations))
        if count < 2:
            break
        shorter = _round(cell, operations, count)
        if shorter is None and count == len(operations):
            break
        if shorter is None:
            count = len(operations)
        operations = shorter or operations
    return operations


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
