"""Content-addressed blobs: a file's name is the SHA-256 of its bytes."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from service.digests import sha256_hex
from service.errors import ArtifactCorruptError, ArtifactMissingError


class ArtifactStore:
    """A directory of immutable blobs. Safe to share among processes."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def put(self, data: bytes) -> str:
        """Store the bytes; their SHA-256. A block that is there already is young again."""
        sha256 = sha256_hex(data)
        if not self._renewed(sha256):
            with self.temporary() as scratch:
                path = scratch / "blob"
                path.write_bytes(data)
                self.adopt(path, sha256)
        return sha256

    def adopt(self, path: Path, sha256: str) -> None:
        """Take over a file of this store's `temporary()` whose SHA-256 has been checked."""
        target = self._path(sha256)
        target.parent.mkdir(parents=True, exist_ok=True)
        with path.open("rb") as file:
            os.fsync(file.fileno())
        path.replace(target)
        _sync_directory(target.parent)

    def read(self, sha256: str) -> bytes:
        """The bytes. Raises ArtifactMissingError and ArtifactCorruptError."""
        try:
            data = self._path(sha256).read_bytes()
        except FileNotFoundError:
            raise ArtifactMissingError(sha256) from None
        if sha256_hex(data) != sha256:
            raise ArtifactCorruptError(sha256)
        return data

    def remove(self, sha256: str) -> None:
        """Forget a block that no row names any more."""
        self._path(sha256).unlink(missing_ok=True)

    def remove_old(self, sha256: str, before: float) -> bool:  # Unix time, s
        """Forget a block that nobody has stored since then. True where it was.

        It is set aside before it is judged: whoever stores it meanwhile makes it anew.
        """
        path = self._path(sha256)
        with self.temporary() as scratch:
            aside = scratch / sha256
            try:
                if path.stat().st_mtime >= before:
                    return False
                path.rename(aside)
            except FileNotFoundError:
                return False
            if aside.stat().st_mtime < before:
                return True
            aside.rename(path)
            return False

    def has(self, sha256: str) -> bool:
        return self._path(sha256).is_file()

    def every(self) -> Iterator[str]:
        """The SHA-256 of each block; those that are stored meanwhile may be among them."""
        return (path.name for path in self._root.glob("??/*") if path.is_file())

    def temporary(self) -> "ScratchDirectory":
        """A directory on the same file system, gone at the end of the `with` block."""
        scratch = self._root / "incoming"
        scratch.mkdir(parents=True, exist_ok=True)
        return ScratchDirectory(scratch)

    def sweep(self, before: float) -> None:  # Unix time, s
        """Remove what killed processes left half uploaded, untouched since `before`."""
        for part in (self._root / "incoming").glob("part-*"):
            if part.stat().st_mtime < before:
                shutil.rmtree(part, ignore_errors=True)

    def _renewed(self, sha256: str) -> bool:
        try:
            os.utime(self._path(sha256))
        except FileNotFoundError:
            return False
        return True

    def _path(self, sha256: str) -> Path:
        return self._root / sha256[:2] / sha256


class ScratchDirectory:
    """A temporary directory as a context manager that yields a Path."""

    def __init__(self, parent: Path) -> None:
        self._directory = tempfile.TemporaryDirectory(dir=parent, prefix="part-")

    def __enter__(self) -> Path:
        return Path(self._directory.name)

    def __exit__(self, *exception: object) -> None:
        self._directory.cleanup()


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
