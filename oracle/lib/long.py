"""A long random stream in each cell, and what becomes of it in docs/fidelity.md."""

import concurrent.futures
import datetime
import threading

from . import cells, compare, compile, fidelity, guest, pinfold, probes, say, streams

_SECONDS_PER_BLOCK = 60  # several boots share the machine


class _Run:
    """One call of --long: what its cells have in common, taken before the first begins."""

    def __init__(self, seed: int, operations: int) -> None:
        self.seed = seed
        self.operations = operations
        self.tally = compare.Tally()
        self._source = compile.source_hash(probes.random_source())[:16]
        self._commit = fidelity.commit()
        self._begun = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M")
        self._lock = threading.Lock()

    def is_done(self, cell: cells.Cell) -> bool:
        """By an earlier run that was cut short: the same stream, the same Pinfold, as long, and no difference."""
        known = fidelity.result(cell) or {}
        wanted = {"seed": self.seed, "source": self._source, "commit": self._commit, "differing_blocks": 0, "differing_logs": 0,
                  "miscounted_faults": 0}
        return known.get("operations", 0) >= self.operations and wanted.items() <= known.items()

    def compare(self, cell: cells.Cell) -> None:
        blocks = -(-self.operations // streams.LEAST_PER_BLOCK)
        wanted = streams.block_jobs(self.seed, 0, blocks, _SECONDS_PER_BLOCK)
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            booting = pool.submit(guest.boot, cell, wanted)
            mine = pinfold.run_all(cell, wanted)
            booted = booting.result()
        verdict = streams.judge(booted.outcomes, mine)
        with self._lock:
            self._note(cell, verdict, booted.uname)

    def _note(self, cell: cells.Cell, verdict: streams.Verdict, uname: str) -> None:
        self.tally.same += verdict.is_same
        self.tally.differing += not verdict.is_same
        print(f"{'same  ' if verdict.is_same else 'DIFFER'} {cell.name:24} {verdict.text}", flush=True)
        run = {"seed": self.seed, "source": self._source, "commit": self._commit, "run": self._begun}
        fidelity.note(cell, verdict, uname, run)
        fidelity.write_page()
        streams.show_logs(verdict)
        if verdict.differing:
            streams.show(cell, self.seed, verdict.differing)
            first = verdict.differing[0]
            print(f"  ./dev oracle --seed {self.seed} --shrink {cell.name} {first} looks for the shortest program that differs", flush=True)


def run(wanted: list[cells.Cell], seed: int, operations: int, together: int, resume: bool) -> compare.Tally:
    """`together` cells at a time: a guest waits for its devices about half of the time."""
    this = _Run(seed, operations)
    left = [cell for cell in wanted if not (resume and this.is_done(cell))]
    for cell in wanted:
        if cell not in left:
            this.tally.same += 1
            print(f"before {cell.name:24} see docs/fidelity.md")
        cell.kernel()  # fetched or built here, one after another
    with concurrent.futures.ThreadPoolExecutor(together) as pool:
        running = [pool.submit(this.compare, cell) for cell in left]
        for done in concurrent.futures.as_completed(running):
            try:
                done.result()
            except Exception as error:  # whatever one cell met, the others go on
                say.step(f"{type(error).__name__}: {error}")
                this.tally.troubles.append(str(error))
    return this.tally
