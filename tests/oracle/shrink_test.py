#!/usr/bin/env python3
"""The oracle's shrinking without a kernel: both sides are made up, and differ where a few operations have come before."""

import pathlib
import sys
import tempfile
import types
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent.parent / "oracle"))
from lib import cells, compile, frames, shrink  # noqa: E402


class MadeUp:
    """Answers 0 to everything; as the broken side, EINVAL to the last of `needed` once the others have come, in any order."""

    def __init__(self, needed: list[bytes]) -> None:
        self.needed = needed
        self.boots = 0

    def answers(self, job, is_broken: bool) -> frames.Outcome:
        *before, last = self.needed
        missing = set(before)
        out = b""
        for operation in job.stdin.splitlines():
            broken = is_broken and not missing and operation == last
            missing.discard(operation)
            out += operation + (b" = EINVAL\n" if broken else b" = 0\n")
        return frames.Outcome(job.name, out=out, end="exit 0")

    def boot(self, _cell, wanted):
        self.boots += 1
        return types.SimpleNamespace(outcomes=[self.answers(job, False) for job in wanted])

    def run(self, _cell, job):
        return self.answers(job, True)

    def run_all(self, cell, wanted):
        return [self.run(cell, job) for job in wanted]


class ShrinkTest(unittest.TestCase):
    def shrunk(self, picks: list[int]) -> tuple[list[bytes], list[bytes], MadeUp]:
        operations = shrink.operations_of(seed=1, block=3)
        made_up = MadeUp([operations[pick] for pick in picks])
        shrink.guest = types.SimpleNamespace(boot=made_up.boot)
        shrink.pinfold = types.SimpleNamespace(run=made_up.run, run_all=made_up.run_all)
        return shrink.shortest(cells.CELLS[0], operations), made_up.needed, made_up

    def test_what_a_difference_needs_is_left(self):
        for picks in ([500], [3, 700], [17, 300, 301, 650], [0, 1, 2, 999]):
            with self.subTest(picks=picks):
                shortest, needed, made_up = self.shrunk(picks)
                self.assertEqual(shortest, needed)
                self.assertLess(made_up.boots, 2 * 24, "a boot is what costs")

    def test_it_becomes_a_program_with_these_operations(self):
        shortest, needed, _ = self.shrunk([17, 300, 650])
        text = shrink.as_program(shortest)
        for operation in needed:
            self.assertIn(operation.decode(), text)
        with tempfile.TemporaryDirectory(prefix="pinfold-oracle.") as folder:
            source = pathlib.Path(folder) / "shrunk.c"
            source.write_text(text)
            program = compile.program(source, "gcc", static=False)
        self.assertIn(needed[-1], program.read_bytes())


if __name__ == "__main__":
    unittest.main()
