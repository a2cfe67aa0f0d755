"""The VFIO self-tests of Debian's newest kernel source, built by their own Makefile, unmodified."""

import hashlib
import os
import pathlib
import shutil
import subprocess

from lib import cache, debian, say

_MODE = pathlib.Path(__file__).resolve().parent / "selftests" / "mode.c"
_GENERATION = "7.3"
_SELFTESTS = "tools/testing/selftests"

# What the build reads, beside the self-tests themselves. The drivers' headers are reached by links.
_WANTED = [
    f"{_SELFTESTS}/vfio/*", f"{_SELFTESTS}/lib.mk", f"{_SELFTESTS}/*.h", "tools/include/*", "tools/arch/x86/include/*",
    "tools/scripts/*", "scripts/subarch.include", "include/linux/pci_ids.h",
    "drivers/dma/ioat/*.h", "drivers/dma/idxd/*.h", "drivers/net/ethernet/intel/igb/*.h",
]


def _run(command: list, log: pathlib.Path, **more) -> None:
    with log.open("w") as stream:
        done = subprocess.run(command, stdout=stream, stderr=subprocess.STDOUT, **more)
    if done.returncode != 0:
        raise say.Refusal(f"{command[0]} failed:\n{log.read_text()[-2000:]}")


def _unpack(root: pathlib.Path, out: pathlib.Path) -> None:
    tarball = root / f"usr/src/linux-source-{_GENERATION}.tar.xz"
    patterns = [f"*/{pattern}" for pattern in _WANTED]
    (out / "source").mkdir()
    _run(["tar", "-xJf", tarball, "-C", out / "source", "--strip-components=1", "--wildcards", *patterns], out / "log")
    # The package serves all architectures; what differs between them is in a folder of its own.
    shutil.copytree(root / "usr/include", out / "headers", ignore=shutil.ignore_patterns("*-linux-*"))
    shutil.copytree(root / "usr/lib/linux/uapi/x86/asm", out / "headers/asm")


def _fetch(out: pathlib.Path) -> None:
    say.step(f"fetching the source of Linux {_GENERATION}")
    wanted = [f"linux-source-{_GENERATION}", "linux-libc-dev"]
    debian.unpack(debian.TRIXIE_BACKPORTS, lambda names: wanted, out, lambda root: _unpack(root, out))


def _build(source: pathlib.Path, out: pathlib.Path) -> None:
    say.step(f"building the VFIO self-tests of Linux {_GENERATION}")
    work = out / "work"
    work.mkdir()
    _run(["cc", "-c", "-O1", "-Wall", "-Wextra", "-Werror", _MODE, "-o", work / "mode.o"], out / "log")
    _run(["make", "-C", source / "source" / _SELFTESTS / "vfio", f"OUTPUT={work}",
          f"KHDR_INCLUDES=-isystem {source}/headers"], out / "log", env=os.environ | {"LDLIBS": str(work / "mode.o")})
    for program in work.glob("vfio_*_test"):
        shutil.copy(program, out)
    shutil.rmtree(work)


def prepare(out: pathlib.Path) -> None:
    source = cache.made_once(f"vfio-selftests-source-{_GENERATION}", _fetch)
    key = hashlib.sha256(_MODE.read_bytes() + pathlib.Path(__file__).read_bytes()).hexdigest()[:12]
    built = cache.made_once(f"vfio-selftests-{_GENERATION}-{key}", lambda folder: _build(source, folder))
    shutil.copytree(built, out / "selftests", dirs_exist_ok=True)
