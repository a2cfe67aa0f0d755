"""Debian's packages, fetched and unpacked without being installed, from suites that the machine need not know."""

import os
import pathlib
import re
import shutil
import subprocess
import tempfile

from . import say

_MIRROR = os.environ.get("PINFOLD_ORACLE_MIRROR", "http://deb.debian.org/debian")
_SECURITY = os.environ.get("PINFOLD_ORACLE_SECURITY_MIRROR", "http://deb.debian.org/debian-security")
_KEYS = "[signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]"

BOOKWORM = [f"{_MIRROR} bookworm", f"{_SECURITY} bookworm-security"]
BOOKWORM_BACKPORTS = [f"{_MIRROR} bookworm-backports"]
TRIXIE_BACKPORTS = [f"{_MIRROR} trixie-backports"]


def _apt(folder: pathlib.Path, command: list[str], cwd: pathlib.Path | None = None) -> str:
    """Runs apt with lists of its own, so that the machine's are neither used nor changed."""
    settings = {
        "Dir::Etc::sourcelist": folder / "sources.list",
        "Dir::Etc::sourceparts": "-",
        "Dir::Etc::preferencesparts": "-",
        "Dir::State::lists": folder / "lists",
        "Dir::Cache": folder / "cache",
        "APT::Architecture": "amd64",
        "APT::Architectures::": "amd64",
        "APT::Sandbox::User": "root",
        "Acquire::Languages": "none",
    }
    options = [word for name, value in settings.items() for word in ("-o", f"{name}={value}")]
    done = subprocess.run([command[0], *options, *command[1:]], capture_output=True, text=True, cwd=cwd)
    if done.returncode != 0:
        raise say.Refusal(f"{' '.join(command)} failed: {done.stderr.strip()}")
    return done.stdout


def newest(names: list[str], pattern: str) -> str | None:
    """What the pattern's group is in the name with the highest numbers."""
    found = [match[1] for name in names if (match := re.fullmatch(pattern, name))]
    return max(found, key=lambda name: [int(number) for number in re.findall(r"\d+", name)], default=None)


def unpack(suites: list[str], choose, out: pathlib.Path, use) -> None:
    """Unpacks the packages that choose(names of all "linux-" packages) names, and calls use(root of what was unpacked).

    out/package tells afterwards which they were; nothing else is left.
    """
    folder = pathlib.Path(tempfile.mkdtemp(prefix="apt.", dir=out))
    try:
        for name in ("lists/partial", "cache/archives/partial", "debs"):
            (folder / name).mkdir(parents=True)
        (folder / "sources.list").write_text("".join(f"deb {_KEYS} {suite} main\n" for suite in suites))
        _apt(folder, ["apt-get", "update", "-q"])
        wanted = choose(_apt(folder, ["apt-cache", "pkgnames", "linux-"]).split())
        _apt(folder, ["apt-get", "download", *wanted], cwd=folder / "debs")
        packages = []
        for deb in sorted((folder / "debs").glob("*.deb")):
            subprocess.run(["dpkg", "-x", deb, folder / "root"], check=True)
            packages.append(subprocess.run(["dpkg-deb", "-W", "--showformat=${Package} ${Version}", deb],
                                           check=True, capture_output=True, text=True).stdout)
        use(folder / "root")
        (out / "package").write_text("\n".join(packages) + "\n")
    finally:
        shutil.rmtree(folder)
