"""Page tables of ours, read by CPUs and IOMMUs of QEMU's: `./dev oracle tables`. See oracle/tables/README.md."""

import dataclasses
import pathlib
import subprocess
import tempfile
import time

from . import compile, say, table_boards, tables_page

_TOOL = compile.ORACLE.parent / "build" / "oracle" / "tables" / "oracle_tables"
_BOOT_SECONDS = 60

USAGE = """Page tables of ours, read by CPUs and IOMMUs of QEMU's.

usage: ./dev oracle tables [FORMAT...] [OPTION]...

  FORMAT...       only these formats, or all of a family: x86, arm64, arm32, riscv (none named: every one)
  --list          name the formats and what reads them
  --seed N        of the random mappings and probes (default 1)
  --mappings N    how many to begin with (default 400)
  --record        write what was found into docs/fidelity.md, which needs all formats without a difference
"""


@dataclasses.dataclass
class Outcome:
    """What the tool found out about one format."""

    name: str
    numbers: dict[str, int]  # of its last line; empty if it did not get there
    lines: list[str]  # differences and complaints
    seconds: float

    @property
    def good(self) -> bool:
        return self.numbers.get("troubles") == 0


def _formats() -> dict[str, str]:
    """Each format and the guest that reads it."""
    listed = subprocess.run([str(_TOOL), "--list"], capture_output=True, text=True, check=True)
    return dict(line.split() for line in listed.stdout.splitlines())


def _family(guest: str) -> str:
    return guest.partition("_")[0]


def _chosen(names: list[str], known: dict[str, str]) -> list[str]:
    families = {_family(guest) for guest in known.values()}
    for name in names:
        if name not in known and name not in families:
            raise say.Refusal(f"there is no format {name!r}; there are {', '.join([*sorted(families), *known])}")
    return [name for name, guest in known.items() if not names or name in names or _family(guest) in names]


def _qemu(board: table_boards.Board, folder: pathlib.Path, program: pathlib.Path) -> list[str]:
    words = [board.qemu, "-accel", "tcg", "-m", board.memory]
    for name, size in board.files().items():
        words += ["-object", f"memory-backend-file,id={name},mem-path={folder / name},size={size},share=on"]
    return [*words, *board.words, "-nodefaults", "-display", "none", "-no-reboot", "-kernel", str(program)]


def _boot(command: list[str]) -> str:
    """Nothing, or what went wrong. What QEMU says about faults is not that: they are wanted."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_BOOT_SECONDS, stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired:
        return f"the guest was still running after {_BOOT_SECONDS} s"
    if done.returncode < 0:
        return f"QEMU died of signal {-done.returncode}: {done.stderr.strip()}"
    return ""


def _make_ram(board: table_boards.Board, folder: pathlib.Path) -> list[str]:
    """Files with holes: only what is touched takes room."""
    for name, size in board.files().items():
        with (folder / name).open("wb") as ram:
            ram.truncate(size)
    words = []
    for name, address, size, offset in board.pieces:
        words += ["--ram", f"{folder / name},{address:#x},{size:#x},{offset:#x}"]
    return words


def _run(name: str, guest: str, seed: int, mappings: int) -> Outcome:
    began = time.monotonic()
    board = table_boards.BOARDS[guest]
    program = table_boards.build(guest)
    # /dev/shm, because what the guest writes is not worth a disk's time.
    shm = pathlib.Path("/dev/shm")
    with tempfile.TemporaryDirectory(prefix="pinfold-tables.", dir=shm if shm.is_dir() else None) as path:
        folder = pathlib.Path(path)
        command = [
            str(_TOOL), "--format", name, "--seed", str(seed), "--mappings", str(mappings), "--orders", str(board.orders),
            "--arena", str(board.arena), "--arena-bytes", str(table_boards.ARENA_BYTES), *_make_ram(board, folder),
        ]
        numbers, lines = _converse(command, _qemu(board, folder, program))
    return Outcome(name, numbers, lines, time.monotonic() - began)


def _converse(command: list[str], qemu: list[str]) -> tuple[dict[str, int], list[str]]:
    """The tool says `boot` when the guest is to run, and waits for `booted`."""
    lines: list[str] = []
    numbers: dict[str, int] = {}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as tool:
        assert tool.stdin and tool.stdout
        for line in tool.stdout:
            word, _, rest = line.rstrip("\n").partition(" ")
            if word == "boot":
                complaint = _boot(qemu)
                lines += [complaint] if complaint else []
                tool.stdin.write("booted\n")
                tool.stdin.flush()
            elif word == "result":
                numbers = {key: int(value) for key, value in (pair.split("=") for pair in rest.split())}
            else:
                lines.append(line.rstrip("\n"))
    if not numbers:
        lines.append(f"the tool ended with {tool.returncode} and no result")
    return numbers, lines


def _show(outcome: Outcome) -> None:
    numbers = outcome.numbers
    told = ", ".join(f"{numbers[key]} {text}" for key, text in tables_page.COLUMNS.items() if key in numbers)
    print(f"{'same  ' if outcome.good else 'DIFFER'} {outcome.name:12} {told or 'nothing compared'} ({outcome.seconds:.1f} s)")
    for line in outcome.lines:
        print(f"    {line}")
    hidden = numbers.get("troubles", 0) - len(outcome.lines)
    if hidden > 0:
        print(f"    and {hidden} more")


def _compare_with_written() -> dict[str, dict[str, int]]:
    """Of each encoder: words that were compared with the specification's bit tables, and how many differ."""
    said = subprocess.run([str(_TOOL), "--written"], capture_output=True, text=True)
    encoders = {}
    for line in said.stdout.splitlines():
        name, words, differences, first = line.split(" ", 3)
        encoders[name] = {"words": int(words), "differences": int(differences)}
        if int(differences) or not int(words):
            print(f"DIFFER {name} and its written bit table: {differences} of {words} words; {first}")
    bad = sum(not _agrees(encoder) for encoder in encoders.values())
    if said.returncode != (1 if bad else 0) or not encoders:
        raise say.Refusal(f"the comparison with the written bit tables ended with {said.returncode}: {said.stderr.strip()}")
    total = sum(encoder["words"] for encoder in encoders.values())
    print(f"{'DIFFER' if bad else 'same  '} {len(encoders)} encoders, {total} words, and the written bit tables")
    return encoders


def _agrees(encoder: dict[str, int]) -> bool:
    return encoder["words"] > 0 and encoder["differences"] == 0


def run(names: list[str], seed: int, mappings: int, record: bool) -> int:
    known = _formats()
    if record and names:
        raise say.Refusal("--record is for all formats together")
    outcomes = []
    for name in _chosen(names, known):
        say.step(f"{name}: read by {known[name]}")
        outcomes.append(_run(name, known[name], seed, mappings))
        _show(outcomes[-1])
    encoders = _compare_with_written()
    differing = not all(_agrees(encoder) for encoder in encoders.values())
    bad = [outcome.name for outcome in outcomes if not outcome.good]
    if not outcomes:
        print("oracle: nothing ran, which proves nothing")
        return 1
    if record and not bad and not differing:
        tables_page.record({outcome.name: outcome.numbers for outcome in outcomes}, known, encoders, seed)
    else:
        tables_page.check()
    print(f"oracle: {len(outcomes)} formats, {len(outcomes) - len(bad)} the same, {len(bad)} different")
    return 1 if bad or differing else 0


def list_formats() -> None:
    for name, guest in _formats().items():
        print(f"{name:12} {table_boards.BOARDS[guest].reader}")
