"""Random streams: cut into jobs, compared by the hashes of their blocks, and shown where they differ."""

import dataclasses
import re

from . import cells, compare, frames, guest, jobs, log, pinfold, probes, recording, say, textdiff

LEAST_PER_BLOCK = 990  # of the 1000 operations of a block a few are left out
QUICK_BLOCKS = 20
QUICK_SEED = 1
_BLOCKS_PER_JOB = 50
_SECONDS_PER_BLOCK = 30  # far more than it takes
_FETCHED = 12  # differing blocks whose lines are fetched


@dataclasses.dataclass(frozen=True)
class Block:
    number: int
    operations: int
    hash: str
    lost: int  # pieces of DMA that did not come through


def block_jobs(seed: int, first: int, count: int, seconds: int = _SECONDS_PER_BLOCK) -> list[jobs.Job]:
    wanted = []
    for start in range(first, first + count, _BLOCKS_PER_JOB):
        some = min(_BLOCKS_PER_JOB, first + count - start)
        words = ("blocks", str(seed), str(start), str(some))
        wanted.append(jobs.Job(probes.random_source(), words, seconds=seconds * some))
    return wanted


def lines_job(seed: int, block: int) -> jobs.Job:
    return jobs.Job(probes.random_source(), ("lines", str(seed), str(block)), seconds=_SECONDS_PER_BLOCK)


def replay_job(operations: list[bytes], trace: bool = False) -> jobs.Job:
    return jobs.Job(probes.random_source(), ("replay",), stdin=b"".join(line + b"\n" for line in operations), trace=trace,
                    seconds=_SECONDS_PER_BLOCK)


def blocks(outcomes: list[frames.Outcome]) -> dict[int, Block]:
    """What `blocks` printed. A run that did not end well has none behind the point where it stopped."""
    found = {}
    for outcome in outcomes:
        for line in outcome.out.decode(errors="replace").splitlines():
            words = line.split()
            if len(words) == 6 and words[0] == "block":
                found[int(words[1])] = Block(int(words[1]), int(words[2]), words[3], int(words[5]))
    return found


@dataclasses.dataclass
class Verdict:
    operations: int
    blocks: int
    differing: list[int]  # numbers of blocks
    logs: dict[str, list[str]]  # the jobs whose kernel log differs, and how
    lost: int  # pieces of DMA that did not come through, on the kernel
    faults: list[str]  # where Pinfold's IOMMU recorded other faults than that

    @property
    def is_same(self) -> bool:
        return not self.differing and not self.logs and not self.faults

    @property
    def text(self) -> str:
        logs = f", the log of {' and '.join(self.logs)} differs" if self.logs else ""
        faults = "".join(f", {fault}" for fault in self.faults)
        return (f"{self.operations} operations, {self.lost} pieces of DMA lost, {len(self.differing)} of {self.blocks} blocks "
                f"differ{logs}{faults}")


def judge(real: list[frames.Outcome], mine: list[frames.Outcome]) -> Verdict:
    """Compares block by block. Refuses when the kernel's side did not come to its end."""
    for outcome in real:
        if outcome.end != "exit 0":
            raise say.Refusal(f"{outcome.name}: on the kernel it ended with {outcome.end}: "
                              + outcome.err.decode(errors="replace")[-400:])
    wanted = blocks(real)
    got = blocks(mine)
    differing = [number for number, block in wanted.items() if got.get(number) != block]
    return Verdict(sum(block.operations for block in wanted.values()), len(wanted), differing, _logs(real, mine),
                   sum(block.lost for block in wanted.values()), _miscounted(mine))


def _miscounted(mine: list[frames.Outcome]) -> list[str]:
    """The program's count of pieces that did not come through against the IOMMU's of faults: one for each. The program does
    not know of transfers while the device is in another container than it thought; they may add faults."""
    found = []
    for outcome in mine:
        said = re.search(rb"lost (\d+) unsure (\d+)\n$", outcome.err)
        if said is None or outcome.faults is None:
            found.append(f"{outcome.name}: no count of faults")
            continue
        lost, unsure = int(said[1]), int(said[2])
        if outcome.faults < lost or unsure == 0 and outcome.faults != lost:
            found.append(f"{outcome.name}: {outcome.faults} faults recorded for {lost} lost pieces of DMA")
    return found


def _logs(real: list[frames.Outcome], mine: list[frames.Outcome]) -> dict[str, list[str]]:
    found = {}
    for one, other in zip(real, mine, strict=True):
        prepared = (dataclasses.replace(side, log=log.normalised(side.log)) for side in (one, other))
        if differing := compare.log_differences(*prepared):
            found[one.name] = differing
    return found


def show(cell: cells.Cell, seed: int, differing: list[int]) -> None:
    """Boots the cell once more for the lines of the blocks that differ, and prints where."""
    if not differing:
        return
    wanted = [lines_job(seed, block) for block in differing[:_FETCHED]]
    real = guest.boot(cell, wanted).outcomes
    for job, one, other in zip(wanted, real, pinfold.run_all(cell, wanted), strict=True):
        found = textdiff.lines(one.out.decode(errors="replace").splitlines(),
                               [*other.out.decode(errors="replace").splitlines(), *_unless_well(other)], context=2)
        print(f"  -- {cell.name}: {job.name}: - kernel, + pinfold")
        for line in found[:20]:
            print(f"  {line}")


def show_logs(verdict: Verdict) -> None:
    for name, differing in verdict.logs.items():
        print(f"  -- kernel log of {name}: - kernel, + pinfold")
        for line in differing[:20]:
            print(f"  {line}")


def _unless_well(outcome: frames.Outcome) -> list[str]:
    return [] if outcome.end == "exit 0" else [f"({outcome.end}) {outcome.err.decode(errors='replace')[-300:]}"]


def recorded(cell: cells.Cell) -> list[frames.Outcome]:
    return recording.read(cell, probes.random_source()).outcomes
