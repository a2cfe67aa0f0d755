"""Breaks each check of Type1 in turn and sees whether the kernels' recorded answers notice."""

import concurrent.futures
import dataclasses
import os
import pathlib
import re
import shutil
import subprocess
import tempfile

from . import cache, cells, compare, compile, frames, jobs, live, mutants, pinfold, recording, say, streams

_ROOT = compile.ORACLE.parent
# Where the checks of Type1 are.
_SOURCES = ["src/type1/*.cpp", "src/type1/*.hpp", "src/uapi/container_file.cpp", "src/uapi/group_file.cpp",
            "src/uapi/info_encoding.cpp", "src/uapi/user_memory.cpp"]
# What no kernel program reaches (drivers that pin for themselves, IOMMUs that differ or run out of memory, the library's own
# front door) the unit tests must notice.
_UNIT_TESTS = ["type1_test", "uapi_test"]
# In this order: the first that notices is enough.
_CELLS = ["vtd-7.3", "vtd-6.1", "arm64-64k-iommu4k-6.1", "amdvi-6.12", "amdvi-6.1", "arm64-64k-virtio-6.1"]
_MOST_MUTANTS = 4096
_SECONDS = 20  # a mutant that never ends is caught too
_UNIT_SECONDS = 120
_EQUIVALENT = compile.ORACLE / "equivalent-mutants"


def _copy(folder: pathlib.Path) -> None:
    """The tree without its builds. What did not change is not written, so that a second run builds little."""
    listed = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=_ROOT,
                            check=True, capture_output=True).stdout.decode().split("\0")
    for name in filter(None, listed):
        source, target = _ROOT / name, folder / name
        if not source.is_file() or target.exists() and target.read_bytes() == source.read_bytes():
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, target)


def _build() -> tuple[pinfold.Build, list[mutants.Mutant]]:
    folder = cache.root() / "mutants" / "tree"
    _copy(folder)
    rewriter = mutants.Rewriter()
    (folder / "src/base/mutation.hpp").write_text(mutants.HEADER)
    for pattern in _SOURCES:
        for source in sorted(_ROOT.glob(pattern)):
            name = str(source.relative_to(_ROOT))
            text = rewriter.rewrite(name, source.read_text())
            if (folder / name).read_text() != text:
                (folder / name).write_text(text)
    say.step(f"building {len(rewriter.mutants)} mutants in one")
    environment = os.environ | {"CCACHE_BASEDIR": str(folder), "CCACHE_NOHASHDIR": "1"}

    def make(*command: str) -> str:
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
        if done.returncode != 0:
            raise say.Refusal(f"the mutants do not build:\n{done.stdout[-4000:]}{done.stderr[-2000:]}")
        return done.stdout

    make("cmake", "--preset", "release")
    libraries = re.findall(r"^(libpinfold[^/:]*\.so):", make("ninja", "-C", "build", "-t", "targets", "all"), re.M)
    make("nice", "ninja", "-C", "build", "pinfold", *libraries, *_UNIT_TESTS)
    return pinfold.Build(folder / "build"), rewriter.mutants


@dataclasses.dataclass
class _Detector:
    """One run of a probe that the unbroken build answers as the kernel did."""

    cell: cells.Cell
    job: jobs.Job
    real: frames.Outcome
    seen: frozenset[int] = frozenset()  # the mutants whose places it runs: it cannot notice others
    seconds: float = 0.0

    @property
    def name(self) -> str:
        return f"{self.cell.name} {self.job.name}"

    def notices(self, build: pinfold.Build, number: int) -> bool:
        return self._differs(pinfold.run(self.cell, self.job, build, {"PINFOLD_MUTANT": str(number)}))

    def _differs(self, outcome: frames.Outcome) -> bool:
        mine = recording.prepared(outcome)
        return bool(compare.differences(self.cell.name, self.job.source.stem, self.real, mine))

    def tried(self, build: pinfold.Build) -> "_Detector | None":
        """With what it sees; None if the unbroken build differs already."""
        with _Places() as places:
            outcome = pinfold.run(self.cell, self.job, build, {"PINFOLD_MUTANT": "0", **places.environment})
            seen = places.seen()
        if self._differs(outcome):
            return None
        return dataclasses.replace(self, seen=seen, seconds=outcome.seconds)


@dataclasses.dataclass
class _UnitTests:
    """All tests of a room, which pass in the unbroken build."""

    program: pathlib.Path
    seen: frozenset[int] = frozenset()

    @property
    def name(self) -> str:
        return self.program.name

    def notices(self, number: int) -> bool:
        return self._run({"PINFOLD_MUTANT": str(number)}) != 0

    def _run(self, environment: dict[str, str]) -> int:
        words = [str(self.program), "--gtest_brief=1", "--gtest_break_on_failure"]
        with tempfile.TemporaryDirectory(prefix="pinfold-oracle.") as folder:
            try:
                return subprocess.run(words, cwd=folder, env=os.environ | environment, capture_output=True,
                                      timeout=_UNIT_SECONDS).returncode
            except subprocess.TimeoutExpired:
                return 1

    def tried(self) -> "_UnitTests":
        with _Places() as places:
            if self._run({"PINFOLD_MUTANT": "0", **places.environment}) != 0:
                raise say.Refusal(f"{self.program} fails with nothing broken")
            return dataclasses.replace(self, seen=places.seen())


class _Places:
    """Which mutants' places a run comes past."""

    def __enter__(self) -> "_Places":
        self._file = tempfile.NamedTemporaryFile(prefix="pinfold-oracle-seen.")
        self._file.write(bytes(_MOST_MUTANTS))
        self._file.flush()
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    @property
    def environment(self) -> dict[str, str]:
        return {"PINFOLD_MUTANT_SEEN": self._file.name}

    def seen(self) -> frozenset[int]:
        return frozenset(number for number, byte in enumerate(pathlib.Path(self._file.name).read_bytes()) if byte)


def _recorded(cell: cells.Cell) -> list[tuple[jobs.Job, frames.Outcome]]:
    found = []
    for probe in live.plan(cell).probes:
        found += zip(probe.jobs(), recording.read(cell, probe.source).outcomes, strict=True)
    return found + list(zip(streams.block_jobs(streams.QUICK_SEED, 0, streams.QUICK_BLOCKS), streams.recorded(cell)))


def _detectors(build: pinfold.Build) -> list[_Detector]:
    found = []
    for name in _CELLS:
        cell = cells.find(name)
        candidates = [_Detector(cell, dataclasses.replace(job, seconds=_SECONDS), real) for job, real in _recorded(cell)]
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            good = [detector for detector in pool.map(lambda candidate: candidate.tried(build), candidates) if detector]
        say.step(f"{cell.name}: {len(good)} of {len(candidates)} runs agree with the kernel and can notice a mutant")
        found += good
    if not found:
        raise say.Refusal("no run agrees with a kernel's recording: nothing could notice a mutant")
    return found


class _Hunt:
    """Tries first what has caught most so far, then what is quick, and unit tests when no kernel's answer differs."""

    def __init__(self, build: pinfold.Build, detectors: list[_Detector]) -> None:
        self._build = build
        self._unit_tests = [_UnitTests(program).tried() for name in _UNIT_TESTS
                            for program in build.folder.glob(f"tests/*/{name}")]
        if len(self._unit_tests) != len(_UNIT_TESTS):
            raise say.Refusal(f"{build.folder} lacks some of {', '.join(_UNIT_TESTS)}")
        self._caught = {id(detector): 0 for detector in detectors}
        self._detectors = detectors

    def reaches(self, mutant: mutants.Mutant) -> bool:
        return any(mutant.number in detector.seen for detector in [*self._detectors, *self._unit_tests])

    def catches(self, mutant: mutants.Mutant) -> _Detector | _UnitTests | None:
        able = [detector for detector in self._detectors if mutant.number in detector.seen]
        for detector in sorted(able, key=lambda detector: (-self._caught[id(detector)], detector.seconds)):
            if detector.notices(self._build, mutant.number):
                self._caught[id(detector)] += 1
                return detector
        return next((tests for tests in self._unit_tests
                     if mutant.number in tests.seen and tests.notices(mutant.number)), None)


def _equivalent() -> dict[str, str]:
    """Mutants that answer as the original does, by their key; the reason stands behind ` # `."""
    if not _EQUIVALENT.exists():
        return {}
    lines = [line.partition(" # ") for line in _EQUIVALENT.read_text().splitlines() if line and not line.startswith("#")]
    return {key.strip(): reason for key, _, reason in lines}


def run(only: str) -> int:
    """only: mutants whose name contains it."""
    build, found = _build()
    found = [mutant for mutant in found if only in mutant.name]
    hunt = _Hunt(build, _detectors(build))
    known = _equivalent()
    survivors = []
    by_kernels = by_tests = 0
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for mutant, detector in zip(found, pool.map(hunt.catches, found)):
            by_kernels += isinstance(detector, _Detector)
            by_tests += isinstance(detector, _UnitTests)
            if detector is not None:
                print(f"caught   {mutant.name}   by {detector.name}", flush=True)
            elif mutant.key in known:
                print(f"the same {mutant.name}   ({known[mutant.key]})", flush=True)
            else:
                survivors.append(mutant)
                print(f"SURVIVES {mutant.name}{'' if hunt.reaches(mutant) else '   (never run)'}", flush=True)
    print(f"oracle: {len(found)} mutants: {by_kernels} caught by kernels' answers, {by_tests} by unit tests, "
          f"{len(found) - by_kernels - by_tests - len(survivors)} answer as the original does, {len(survivors)} survive")
    for mutant in survivors:
        print(f"  {mutant.name}")
    return 1 if survivors or not found else 0
