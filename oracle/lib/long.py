"""A long random stream in each cell, and what becomes of it in docs/fidelity.md."""

import concurrent.futures

from . import cells, compare, fidelity, guest, pinfold, say, shrink, streams


def _one(cell: cells.Cell, seed: int, blocks: int, tally: compare.Tally) -> None:
    wanted = streams.block_jobs(seed, 0, blocks)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        booting = pool.submit(guest.boot, cell, wanted)
        mine = pinfold.run_all(cell, wanted)
        booted = booting.result()
    verdict = streams.judge(booted.outcomes, mine)
    tally.same += not verdict.differing
    tally.differing += bool(verdict.differing)
    print(f"{'DIFFER' if verdict.differing else 'same  '} {cell.name:24} {verdict.text}", flush=True)
    fidelity.note(cell, seed, verdict, booted.uname)
    if verdict.differing:
        streams.show(cell, seed, verdict.differing)
        shrink.show(cell, seed, verdict.differing[0])


def run(wanted: list[cells.Cell], seed: int, operations: int) -> compare.Tally:
    tally = compare.Tally()
    blocks = -(-operations // streams.OPERATIONS_PER_BLOCK)
    for cell in wanted:
        try:
            _one(cell, seed, blocks, tally)
        except say.Refusal as refusal:
            tally.troubles.append(str(refusal))
        fidelity.write_page()
    return tally
