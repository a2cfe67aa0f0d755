"""Fetches Debian's own x86 kernels and unpacks them into the cache. Nothing is installed."""

import os
import pathlib
import re
import shutil
import subprocess

from . import cache, say

_MIRROR = os.environ.get("PINFOLD_ORACLE_MIRROR", "http://deb.debian.org/debian")
_SECURITY = os.environ.get("PINFOLD_ORACLE_SECURITY_MIRROR", "http://deb.debian.org/debian-security")
_KEYS = "[signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]"

# Which of Debian's suites carries which generation.
_SUITES = {
    "6.1": [f"{_MIRROR} bookworm", f"{_SECURITY} bookworm-security"],
    "6.12": [f"{_MIRROR} bookworm-backports"],
    "7.3": [f"{_MIRROR} trixie-backports"],
}

# The drivers of the guest: what they need first. A generation without one of them has folded it into another.
MODULES = ["irqbypass", "iommufd", "vfio", "vfio_virqfd", "vfio_iommu_type1", "vfio-pci-core", "vfio-pci"]


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


def _sort_key(name: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", name)]


def _newest_flavour(names: list[str], generation: str) -> str:
    """6.1.0-50-amd64 and its like: the newest kernel of a generation for plain amd64."""
    pattern = re.compile(rf"linux-image-({re.escape(generation)}\.[0-9][^ ]*-amd64)")
    found = [match[1] for name in names if (match := pattern.fullmatch(name)) and "cloud" not in name and "-rt-" not in name]
    if not found:
        raise say.Refusal(f"{' and '.join(_SUITES[generation])} carries no kernel {generation} any more")
    return max(found, key=_sort_key)


def _unpack(generation: str, out: pathlib.Path) -> None:
    say.step(f"fetching Debian's kernel {generation}")
    folder = out / "apt"
    for name in ("lists/partial", "cache/archives/partial", "debs"):
        (folder / name).mkdir(parents=True)
    (folder / "sources.list").write_text("".join(f"deb {_KEYS} {suite} main\n" for suite in _SUITES[generation]))
    _apt(folder, ["apt-get", "update", "-q"])
    names = _apt(folder, ["apt-cache", "pkgnames", "linux-"]).split()
    flavour = _newest_flavour(names, generation)
    # Newer generations split the package: the image in one, the modules in another.
    split = [f"linux-binary-{flavour}", f"linux-modules-{flavour}"]
    wanted = split if set(split) <= set(names) else [f"linux-image-{flavour}"]
    _apt(folder, ["apt-get", "download", *wanted], cwd=folder / "debs")
    root = folder / "root"
    packages = []
    for deb in sorted((folder / "debs").glob("*.deb")):
        subprocess.run(["dpkg", "-x", deb, root], check=True)
        packages.append(subprocess.run(["dpkg-deb", "-W", "--showformat=${Package} ${Version}", deb],
                                       check=True, capture_output=True, text=True).stdout)
    _keep(root, out)
    (out / "package").write_text("\n".join(packages) + "\n")
    shutil.rmtree(folder)


def _only(root: pathlib.Path, pattern: str) -> pathlib.Path | None:
    found = sorted(root.rglob(pattern))
    return found[0] if found else None


def _keep(root: pathlib.Path, out: pathlib.Path) -> None:
    """Takes the image and the few modules of the guest out of hundreds of megabytes."""
    image = _only(root, "vmlinuz*")
    if image is None:
        raise say.Refusal("the kernel packages hold no vmlinuz")
    shutil.copy(image, out / "vmlinuz")
    (out / "modules").mkdir()
    for name in MODULES:
        module = _only(root, f"{name}.ko*")
        if module is None:
            continue
        kept = out / "modules" / f"{name}.ko"
        if module.suffix == ".xz":
            with kept.open("wb") as stream:
                subprocess.run(["xz", "-dc", module], check=True, stdout=stream)
        else:
            shutil.copy(module, kept)


def kernel(generation: str) -> pathlib.Path:
    """The folder of a generation's kernel: vmlinuz, modules/*.ko, package."""
    return cache.made_once(f"kernels/x86-{generation}", lambda out: _unpack(generation, out))
