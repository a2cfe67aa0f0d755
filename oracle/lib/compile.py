"""Compiles probes and the guest's /init. What was compiled once is kept by the hash of what went in."""

import hashlib
import os
import pathlib
import re
import subprocess
import threading

from . import cache, say

ORACLE = pathlib.Path(__file__).parent.parent
PROBES = ORACLE / "probes"
_FLAGS = ["-std=c11", "-D_GNU_SOURCE", "-O1", "-g0", "-Wall", "-Wextra", "-pthread"]
_INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"', re.M)


def _closure(source: pathlib.Path, seen: set[pathlib.Path]) -> set[pathlib.Path]:
    """The file and what it includes of ours, also by way of others: from its own folder or from that of the probes."""
    seen.add(source)
    for name in _INCLUDE.findall(source.read_text()):
        here = next((path for path in (source.parent / name, PROBES / name) if path.exists()), None)
        if here is not None and here not in seen:
            _closure(here, seen)
    return seen


def source_hash(source: pathlib.Path) -> str:
    """Of a probe and of the headers that it includes: what a recording is a recording of."""
    digest = hashlib.sha256()
    for path in [source, *sorted(_closure(source, set()) - {source})]:
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def program(source: pathlib.Path, compiler: str, static: bool) -> pathlib.Path:
    flags = _FLAGS + (["-static"] if static else [])
    key = hashlib.sha256(repr((source_hash(source), compiler, flags)).encode()).hexdigest()[:24]
    folder = cache.root() / "programs"
    folder.mkdir(parents=True, exist_ok=True)
    result = folder / f"{source.stem}-{key}"
    if result.exists():
        return result
    unfinished = result.with_suffix(f".{os.getpid()}.{threading.get_ident()}")  # others may compile the same now
    done = subprocess.run([compiler, *flags, "-I", PROBES, source, "-o", unfinished], capture_output=True, text=True)
    if done.returncode != 0:
        raise say.Refusal(f"{source} does not compile:\n{done.stderr}")
    if done.stderr:
        say.step(done.stderr.strip())
    unfinished.rename(result)
    return result
