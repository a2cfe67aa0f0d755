"""Fetches Debian's own x86 kernels and unpacks them into the cache. Nothing is installed."""

import pathlib
import re
import shutil
import subprocess

from . import cache, debian, say

# Which of Debian's suites carries which generation.
_SUITES = {
    "6.1": debian.BOOKWORM,
    "6.12": debian.BOOKWORM_BACKPORTS,
    "7.3": debian.TRIXIE_BACKPORTS,
}

# The drivers of the guest: what they need first. A generation without one of them has folded it into another.
MODULES = ["irqbypass", "iommufd", "vfio", "vfio_virqfd", "vfio_iommu_type1", "vfio-pci-core", "vfio-pci"]


def _newest_flavour(names: list[str], generation: str) -> str:
    """6.1.0-50-amd64 and its like: the newest kernel of a generation for plain amd64."""
    plain = [name for name in names if "cloud" not in name and "-rt-" not in name]
    found = debian.newest(plain, rf"linux-image-({re.escape(generation)}\.[0-9][^ ]*-amd64)")
    if found is None:
        raise say.Refusal(f"{' and '.join(_SUITES[generation])} carries no kernel {generation} any more")
    return found


def _choose(generation: str, names: list[str]) -> list[str]:
    flavour = _newest_flavour(names, generation)
    # Newer generations split the package: the image in one, the modules in another.
    split = [f"linux-binary-{flavour}", f"linux-modules-{flavour}"]
    return split if set(split) <= set(names) else [f"linux-image-{flavour}"]


def _unpack(generation: str, out: pathlib.Path) -> None:
    say.step(f"fetching Debian's kernel {generation}")
    debian.unpack(_SUITES[generation], lambda names: _choose(generation, names), out, lambda root: _keep(root, out))


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
