"""What `./dev oracle tables --record` found, kept in tables.json and shown in docs/fidelity.md between two marks."""

import datetime
import json

from . import compile, fidelity, say, table_boards

_DATA = compile.ORACLE / "tables.json"
_PAGE = compile.ORACLE.parent / "docs" / "fidelity.md"
_BEGIN = "<!-- written by ./dev oracle tables --record: what stands between these lines is not typed -->"
_END = "<!-- end of what ./dev oracle tables --record wrote -->"

# What the tool counts, in words.
COLUMNS = {
    "mappings": "mappings",
    "accesses": "accesses",
    "faults": "of them faults",
    "differences": "differences",
    "marks": "leaves marked as written",
    "flips": "broken words",
    "caught": "noticed",
}


def _load() -> dict:
    return json.loads(_DATA.read_text()) if _DATA.exists() else {}


def record(numbers: dict[str, dict[str, int]], guests: dict[str, str], encoders: dict[str, dict[str, int]], seed: int) -> None:
    data = {
        "date": datetime.date.today().isoformat(),
        "commit": fidelity.commit(),
        "seed": seed,
        "formats": {
            name: {**{key: found[key] for key in COLUMNS}, "reader": table_boards.BOARDS[guests[name]].reader,
                   "qemu": table_boards.qemu_version(guests[name])}
            for name, found in numbers.items()
        },
        "encoders": encoders,
    }
    _DATA.write_text(json.dumps(data, indent=1) + "\n")
    _PAGE.write_text(_page_with_table())


def _table() -> str:
    data = _load()
    if not data:
        return "Nothing was recorded yet.\n"
    lines = [f"Recorded on {data['date']} with seed {data['seed']}, Pinfold {data['commit']}.", ""]
    lines += ["| format | reader | QEMU | " + " | ".join(COLUMNS.values()) + " |", "|---" * (3 + len(COLUMNS)) + "|"]
    for name, found in data["formats"].items():
        cells = [name, found["reader"], found["qemu"], *(f"{found[key]:,}" for key in COLUMNS)]
        lines.append("| " + " | ".join(cells) + " |")
    lines += ["", "The encoders' words, for everything that can be asked of a mapping, every leaf size and every bit of a paddr, against the bit", "tables of the specifications:", ""]
    lines += ["| encoder | words | differences | read by |", "|---|---|---|---|"]
    for name, found in data["encoders"].items():
        lines.append(f"| {name} | {found['words']:,} | {found['differences']} | {_readers(name, data['formats'])} |")
    return "\n".join(lines) + "\n"


# Encoders and the formats above that are made of their words; none: QEMU has no reader, or none of what is special in them.
_READ_AS = {
    "vtdss": "vtdss-3, vtdss-4; with 5 levels by nothing",
    "x86": "x86-4, x86-5",
    "x86-vtd61": "x86-4-vtd61",
    "x86-amd61": "x86-4-amd61",
    "amdv1": "amdv1-39, amdv1-64",
    "arm-s2-4k": "arm-s2-4k-48, arm-s2-4k-42, arm-s2-4k-40",
    "arm-s2-16k": "arm-s2-16k-48",
    "arm-s2-64k": "arm-s2-64k-52",
    "arm-s2-4k-lpa2": "arm-s2-4k-52",
    "riscv": "riscv-sv39, riscv-sv48, riscv-sv57",
}


def _readers(encoder: str, formats: dict) -> str:
    named = _READ_AS.get(encoder, encoder)
    return named if encoder in _READ_AS or encoder in formats else "nothing"


def _page_with_table() -> str:
    before, begin, rest = _PAGE.read_text().partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not begin or not end:
        raise say.Refusal(f"{_PAGE} has lost the lines that the table of page tables stands between")
    return f"{before}{_BEGIN}\n{_table()}{_END}{after}"


def check() -> None:
    """Refuses a table that says something else than the recorded run did."""
    if _PAGE.read_text() != _page_with_table():
        raise say.Refusal("docs/fidelity.md does not hold what oracle/tables.json does: ./dev oracle tables --record writes both")
