"""A Debian guest: the cloud kernel of Debian 12, and an initramfs of busybox, its modules and our init."""

import pathlib
import shutil

from lib import cache, debian, initramfs, say

_HERE = pathlib.Path(__file__).resolve().parent
_BUSYBOX = pathlib.Path("/bin/busybox")

# In the order in which they are loaded. NVMe and ext4 are in the kernel.
_MODULES = [
    "virtio_ring", "virtio", "virtio_pci_modern_dev", "virtio_pci_legacy_dev", "virtio_pci", "virtio_blk",
    "failover", "net_failover", "virtio_net",
]


def _choose(names: list[str]) -> list[str]:
    found = debian.newest(names, r"(linux-image-6\.1\.0-[0-9]+-cloud-amd64)")
    if found is None:
        raise say.Refusal("Debian 12 carries no cloud kernel any more")
    return [found]


def _keep(root: pathlib.Path, out: pathlib.Path) -> None:
    shutil.copy(next(root.rglob("vmlinuz-*")), out / "vmlinuz")
    (out / "modules").mkdir()
    for name in _MODULES:
        shutil.copy(next(root.rglob(f"{name}.ko")), out / "modules")


def _fetch(out: pathlib.Path) -> None:
    say.step("fetching Debian's cloud kernel")
    debian.unpack(debian.BOOKWORM, _choose, out, lambda root: _keep(root, out))


def _initramfs(kernel: pathlib.Path, frames: pathlib.Path) -> bytes:
    archive = initramfs.Archive()
    archive.character_device("dev/console", 5, 1)
    for folder in ("proc", "sys", "tmp", "mnt"):
        archive.folder(folder)
    archive.file("bin/busybox", _BUSYBOX.read_bytes(), executable=True)
    archive.file("bin/frames", frames.read_bytes(), executable=True)
    archive.file("init", (_HERE / "guest" / "init.sh").read_bytes(), executable=True)
    for name in _MODULES:
        archive.file(f"modules/{name}.ko", (kernel / "modules" / f"{name}.ko").read_bytes())
    archive.file("modules/list", "".join(f"{name}.ko\n" for name in _MODULES).encode())
    return archive.bytes()


def prepare(out: pathlib.Path, frames: pathlib.Path) -> None:
    if not _BUSYBOX.exists():
        raise say.Refusal("the guest needs /bin/busybox: install busybox-static")
    kernel = cache.made_once("kernels/x86-cloud", _fetch)
    shutil.copy(kernel / "vmlinuz", out / "vmlinuz")
    (out / "initramfs").write_bytes(_initramfs(kernel, frames))
