"""A cell booted now: all its directed probes and a random stream in one boot, Pinfold meanwhile beside it."""

import concurrent.futures
import dataclasses

from . import cells, compare, coverage, frames, guest, jobs, pinfold, probes, recording, streams


@dataclasses.dataclass
class Plan:
    """The jobs of a cell in their order, and which probe each belongs to."""

    probes: list[probes.Probe]
    seed: int
    blocks: int

    def all_jobs(self) -> list[jobs.Job]:
        directed = [job for probe in self.probes for job in probe.jobs()]
        return directed + self.random_jobs()

    def random_jobs(self) -> list[jobs.Job]:
        if self.blocks == 0 or not probes.random_source().exists():
            return []
        return streams.block_jobs(self.seed, 0, self.blocks)

    def split(self, outcomes: list[frames.Outcome]) -> tuple[list[list[frames.Outcome]], list[frames.Outcome]]:
        """The outcomes of each directed probe, and those of the random one."""
        groups = []
        for probe in self.probes:
            count = len(probe.jobs())
            groups.append(outcomes[:count])
            outcomes = outcomes[count:]
        return groups, outcomes


def plan(cell: cells.Cell, seed: int = streams.QUICK_SEED, blocks: int = streams.QUICK_BLOCKS,
         only: list[str] | None = None, trace: bool = False) -> Plan:
    chosen = [probe for probe in probes.directed() if probe.runs_in(cell) and (not only or probe.name in only)]
    for probe in chosen:
        probe.trace = probe.trace or trace
    with_random = not only or probes.RANDOM in only
    return Plan(chosen, seed, blocks if with_random else 0)


def boot(cell: cells.Cell, planned: Plan) -> frames.Transcript:
    return guest.boot(cell, planned.all_jobs())


def judge(cell: cells.Cell, planned: Plan, real: list[frames.Outcome], mine: list[frames.Outcome],
          tally: compare.Tally, is_live: bool) -> None:
    """Prints a line for each probe of the cell and counts. REQUIRES: both are prepared."""
    real_groups, real_random = planned.split(real)
    mine_groups, mine_random = planned.split(mine)
    for probe, one, other in zip(planned.probes, real_groups, mine_groups, strict=True):
        compare.report(cell.name, probe.name, one, other, tally)
    if real_random:
        _judge_random(cell, planned, streams.judge(real_random, mine_random), tally, is_live)


def _judge_random(cell: cells.Cell, planned: Plan, verdict: streams.Verdict, tally: compare.Tally, is_live: bool) -> None:
    tally.differing += not verdict.is_same
    tally.same += verdict.is_same
    word = "same  " if verdict.is_same else "DIFFER"
    print(f"{word} {cell.name:24} {probes.RANDOM:16} {verdict.text}", flush=True)
    streams.show_logs(verdict)
    if not verdict.differing:
        return
    print(f"  blocks of seed {planned.seed}: {' '.join(map(str, verdict.differing[:20]))}")
    if is_live:
        streams.show(cell, planned.seed, verdict.differing)
    else:
        print(f"  ./dev oracle --live {cell.name} shows their lines")


def check_coverage(cell: cells.Cell, real: list[frames.Outcome], tally: compare.Tally) -> None:
    seen = coverage.Coverage()
    seen.add(real)
    lacking = coverage.missing(cell, seen)
    print(f"{'lacks ' if lacking else 'covers'} {cell.name:24} {len(seen.rules)} rules, {len(seen.pairs)} pairs of call and errno")
    if lacking:
        print("  the kernel did not show: " + ", ".join(lacking))
        tally.troubles.append(f"{cell.name}: {len(lacking)} reachable pairs or rules were not hit")
    tally.troubles += [f"{cell.name}: {mistake}" for mistake in coverage.mistaken(seen)]


def run(cell: cells.Cell, planned: Plan, tally: compare.Tally, whole: bool) -> None:
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        booting = pool.submit(boot, cell, planned)
        mine = [recording.prepared(outcome) for outcome in pinfold.run_all(cell, planned.all_jobs())]
        real = [recording.prepared(outcome) for outcome in booting.result().outcomes]
    judge(cell, planned, real, mine, tally, is_live=True)
    if whole:
        check_coverage(cell, real, tally)


def record(cell: cells.Cell, planned: Plan) -> None:
    booted = boot(cell, planned)
    groups, random = planned.split(booted.outcomes)
    for probe, outcomes in zip(planned.probes, groups, strict=True):
        recording.write(cell, probe.source, booted, outcomes)
    if random:
        recording.write(cell, probes.random_source(), booted, random)


def against_recording(cell: cells.Cell, planned: Plan, tally: compare.Tally, whole: bool) -> None:
    real = [outcome for probe in planned.probes for outcome in recording.read(cell, probe.source).outcomes]
    if planned.random_jobs():
        real += streams.recorded(cell)
    mine = [recording.prepared(outcome) for outcome in pinfold.run_all(cell, planned.all_jobs())]
    judge(cell, planned, real, mine, tally, is_live=False)
    if whole:
        check_coverage(cell, real, tally)
