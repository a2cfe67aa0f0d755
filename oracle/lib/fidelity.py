"""The table in docs/fidelity.md: what `--long` runs found, cell by cell. It is written from fidelity.json, never by hand."""

import json
import subprocess

from . import cells, compile, say, streams

_DATA = compile.ORACLE / "fidelity.json"
_PAGE = compile.ORACLE.parent / "docs" / "fidelity.md"
_BEGIN = "<!-- written by ./dev oracle --long: what stands between these lines is not typed -->"
_END = "<!-- end of what ./dev oracle --long wrote -->"
_NEW_PAGE = f"""# Fidelity

Random streams of Type1 calls, run on real kernels in QEMU and under `pinfold run`, compared line by line (by hashes of blocks of 1000 operations). `oracle/README.md`
says how; `./dev oracle --long` repeats it.

{_BEGIN}
{_END}
"""


def _load() -> dict[str, dict]:
    return json.loads(_DATA.read_text()) if _DATA.exists() else {}


def commit() -> str:
    """The last one that changed what is compared, with a + if more has changed since."""
    def git(*words: str) -> str:
        return subprocess.run(["git", *words, "--", "src", "include"], cwd=compile.ORACLE.parent, capture_output=True, text=True,
                              check=True).stdout.strip()

    return git("log", "-1", "--format=%h", "--abbrev=10") + ("+" if git("status", "--porcelain") else "")


def result(cell: cells.Cell) -> dict | None:
    return _load().get(cell.name)


def note(cell: cells.Cell, verdict: streams.Verdict, uname: str, run: dict) -> None:
    """Keeps the result of one cell, in place of an earlier one. run: what all cells of the run share."""
    data = _load()
    data[cell.name] = {
        "kernel": uname.split()[0],
        "operations": verdict.operations,
        "blocks": verdict.blocks,
        "differing_blocks": len(verdict.differing),
        "differing_logs": len(verdict.logs),
        "faults": verdict.lost,
        "miscounted_faults": len(verdict.faults),
        **run,
    }
    _DATA.write_text(json.dumps(data, indent=1, sort_keys=True) + "\n")


def _row(cell: cells.Cell, result: dict | None) -> str:
    if result is None:
        return f"| {cell.machine.name} | {cell.generation} | not run | | not run | | | |"
    faults = f"{result['faults']:,}" if "faults" in result else "not counted"
    return (f"| {cell.machine.name} | {result['kernel']} | {result['operations']:,} | {faults} | {_found(result)} | {result['seed']} "
            f"| {result['commit']} | {result['run']} |")


def _found(result: dict) -> str:
    differing = result["differing_blocks"]
    logs = result.get("differing_logs", 0)
    miscounted = result.get("miscounted_faults", 0)
    if not differing and not logs and not miscounted:
        return "0"
    return (f"in {differing} of {result['blocks']} blocks" + (f", and {logs} kernel logs" if logs else "")
            + (f", and the faults of {miscounted} runs" if miscounted else ""))


def _table() -> str:
    data = _load()
    head = ("| machine | kernel | operations | DMA faults | differences | seed | Pinfold | run begun (UTC) |\n"
            "|---|---|---|---|---|---|---|---|\n")
    return head + "".join(_row(cell, data.get(cell.name)) + "\n" for cell in cells.CELLS)


def _page_with_table() -> str:
    page = _PAGE.read_text() if _PAGE.exists() else _NEW_PAGE
    before, begin, rest = page.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not begin or not end:
        raise say.Refusal(f"{_PAGE} has lost the lines that the table stands between")
    return f"{before}{_BEGIN}\n{_table()}{_END}{after}"


def write_page() -> None:
    _PAGE.write_text(_page_with_table())


def check_page() -> None:
    """Refuses a table that says something else than the runs did."""
    if not _PAGE.exists() or _PAGE.read_text() != _page_with_table():
        raise say.Refusal("docs/fidelity.md does not hold what oracle/fidelity.json does: ./dev oracle --table writes it")
