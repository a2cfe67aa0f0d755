"""Where what is fetched and built is kept: outside the repository, and never needed twice."""

import os
import pathlib
import shutil
import tempfile


def root() -> pathlib.Path:
    """PINFOLD_ORACLE_CACHE, or a folder of ours in the user's cache."""
    named = os.environ.get("PINFOLD_ORACLE_CACHE")
    if named:
        return pathlib.Path(named).absolute()
    base = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    return pathlib.Path(base) / "pinfold-oracle"


def made_once(name: str, make) -> pathlib.Path:
    """The folder `name` of the cache. make(folder) fills it the first time, and it appears whole or not at all."""
    folder = root() / name
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished = pathlib.Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        make(unfinished)
        unfinished.chmod(0o755)
        unfinished.rename(folder)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    return folder
