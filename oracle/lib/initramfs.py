"""Writes an initramfs: the cpio format "newc" that Linux unpacks (Documentation/driver-api/early-userspace)."""

import io
import pathlib


class Archive:
    def __init__(self) -> None:
        self._stream = io.BytesIO()
        self._inode = 0
        self._folders: set[str] = set()

    def _entry(self, name: str, mode: int, content: bytes = b"", major: int = 0, minor: int = 0) -> None:
        self._inode += 1
        path = name.encode() + b"\0"
        fields = [self._inode, mode, 0, 0, 1, 0, len(content), 0, 0, major, minor, len(path), 0]
        self._stream.write(b"070701" + b"".join(b"%08x" % field for field in fields) + path)
        self._pad()
        self._stream.write(content)
        self._pad()

    def _pad(self) -> None:
        self._stream.write(b"\0" * (-self._stream.tell() % 4))

    def folder(self, name: str) -> None:
        if name not in self._folders:
            self._folders.add(name)
            self._entry(name, 0o040755)

    def file(self, name: str, content: bytes, executable: bool = False) -> None:
        parent = str(pathlib.PurePosixPath(name).parent)
        if parent != ".":
            self.folder(parent)
        self._entry(name, 0o100755 if executable else 0o100644, content)

    def character_device(self, name: str, major: int, minor: int) -> None:
        self.folder(str(pathlib.PurePosixPath(name).parent))
        self._entry(name, 0o020600, b"", major, minor)

    def bytes(self) -> bytes:
        self._entry("TRAILER!!!", 0)
        return self._stream.getvalue()
