"""Builds the arm64 guest's kernel, one per page size, from Debian's linux-source-6.1."""

import os
import pathlib
import re
import subprocess

from . import cache, say

_TARBALL = pathlib.Path("/usr/src/linux-source-6.1.tar.xz")
_CONFIG = pathlib.Path(__file__).parent.parent / "guest" / "arm64.config"
_PAGES = {
    "4k": "CONFIG_ARM64_4K_PAGES=y\nCONFIG_ARM64_VA_BITS_48=y\n",
    "16k": "CONFIG_ARM64_16K_PAGES=y\nCONFIG_ARM64_VA_BITS_47=y\n",
    "64k": "CONFIG_ARM64_64K_PAGES=y\nCONFIG_ARM64_VA_BITS_42=y\n",
}


def package_version() -> str:
    """Debian's version of the source that the kernels are built from."""
    asked = subprocess.run(["dpkg-query", "-W", "-f=${Version}", "linux-source-6.1"],
                           capture_output=True, text=True)
    if asked.returncode != 0 or not _TARBALL.exists():
        raise say.Refusal("the arm64 kernels are built from linux-source-6.1, which is not installed; "
                          "./dev oracle installs it when an arm64 cell is asked for")
    return asked.stdout


def _replace_once(text: str, pattern: str, replacement: str) -> str:
    changed, count = re.subn(pattern, replacement, text, count=1, flags=re.M)
    if count != 1:
        raise say.Refusal(f"arm-smmu-v3 does not look as expected: no match for {pattern!r}")
    return changed


def _limit_page_sizes(source: pathlib.Path) -> None:
    """Gives arm-smmu-v3 a parameter that takes page sizes away from what the hardware offers.

    QEMU's SMMUv3 has every granule, so a host whose IOMMU lacks its page size is made here.
    """
    driver = source / "drivers/iommu/arm/arm-smmu-v3/arm-smmu-v3.c"
    text = driver.read_text()
    text = _replace_once(text, r"^module_param\(disable_bypass, bool, 0444\);$",
                         r"\g<0>\nstatic ulong pgsizes = ~0UL;\nmodule_param(pgsizes, ulong, 0444);")
    text = _replace_once(text, r"^\tif \(arm_smmu_ops\.pgsize_bitmap == -1UL\)$",
                         r"\tsmmu->pgsize_bitmap &= pgsizes;\n\g<0>")
    driver.write_text(text)


def _source(version: str) -> pathlib.Path:
    def unpack(folder: pathlib.Path) -> None:
        say.step(f"unpacking linux-source-6.1 {version}")
        subprocess.run(["tar", "-xf", _TARBALL, "-C", folder, "--strip-components=1"], check=True)
        _limit_page_sizes(folder)

    return cache.made_once(f"linux-source-6.1_{version}", unpack)


def _build(version: str, pages: str, out: pathlib.Path) -> None:
    source = _source(version)
    say.step(f"building the arm64 kernel with {pages} pages (minutes)")
    work = cache.root() / f"build-arm64-{pages}_{version}"
    work.mkdir(parents=True, exist_ok=True)
    wanted = work / "wanted.config"
    wanted.write_text(_CONFIG.read_text() + _PAGES[pages])
    make = ["nice", "-n15", "make", "-s", "-C", source, f"O={work}", "ARCH=arm64", "CROSS_COMPILE=aarch64-linux-gnu-",
            "KBUILD_BUILD_USER=pinfold", "KBUILD_BUILD_HOST=oracle"]
    log = work / "build.log"
    with log.open("w") as stream:
        for goal in (["allnoconfig"], [f"-j{os.cpu_count()}", "Image"]):
            done = subprocess.run(make + goal, stdout=stream, stderr=subprocess.STDOUT,
                                  env=os.environ | {"KCONFIG_ALLCONFIG": str(wanted)})
            if done.returncode != 0:
                raise say.Refusal(f"the kernel did not build; see {log}")
    _check_config(wanted, work / ".config")
    (out / "Image").write_bytes((work / "arch/arm64/boot/Image").read_bytes())
    (out / "package").write_text(f"linux-source-6.1 {version}\n")


def _check_config(wanted: pathlib.Path, got: pathlib.Path) -> None:
    """Kconfig drops what it cannot give without a word; a guest without it would say little more."""
    have = set(got.read_text().splitlines())
    missing = [line for line in wanted.read_text().splitlines() if line.endswith("=y") and line not in have]
    if missing:
        raise say.Refusal(f"the kernel's configuration refused {' '.join(missing)}")


def image(pages: str) -> pathlib.Path:
    """The folder of the kernel with 4k, 16k or 64k pages: Image, package."""
    version = package_version()
    return cache.made_once(f"kernels/arm64-6.1-{pages}_{version}", lambda out: _build(version, pages, out))
