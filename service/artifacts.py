"""Content-addressed store: immutable blocks in files named by the SHA-256 of their bytes."""

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from service.digests import sha256_hex
from service.disk_space import is_full
from service.errors import ArtifactCorruptError, ArtifactMissingError

_ABANDONED = 24 * 3600.0  # s without a write after which an upload is taken for unfinished
_PAUSE = 0.5  # s between two tries to write to a full disk


class ArtifactStore:
    """A directory of immutable blocks, safe to share among processes."""

    def __init__(self, root: Path, patience_s: float = 0.0) -> None:
        """Writing waits up to `patience_s` seconds for room on a full disk."""
        self._root, self._patience_s = root, patience_s

    def put(self, data: bytes) -> str:
        """Store the bytes and return their SHA-256. A block that exists gets a new file time.

        Raises OSError if there is no room on the disk in time.
        """
        sha256, deadline = sha256_hex(data), time.monotonic() + self._patience_s
        while not self._touch(sha256):
            try:
                self._write(data, sha256)
                break
            except OSError as error:
                if not is_full(error) or time.monotonic() >= deadline:
                    raise
            time.sleep(_PAUSE)
        return sha256

    def _write(self, data: bytes, sha256: str) -> None:
        with self.temporary() as scratch:
            path = scratch / "blob"
            path.write_bytes(data)
            self.adopt(path, sha256)

    def adopt(self, path: Path, sha256: str) -> None:
        """Move a file from `temporary()` into the store; its SHA-256 must have been checked."""
        target = self._path(sha256)
        target.parent.mkdir(parents=True, exist_ok=True)
        with path.open("rb") as file:
            os.fsync(file.fileno())
        path.replace(target)
        _sync_directory(target.parent)

    def read(self, sha256: str) -> bytes:
        """Return the bytes of a block.

        Raises ArtifactMissingError, and ArtifactCorruptError if they do not match their SHA-256.
        """
        try:
            data = self._path(sha256).read_bytes()
        except FileNotFoundError:
            raise ArtifactMissingError(sha256) from None
        if sha256_hex(data) != sha256:
            raise ArtifactCorruptError(sha256)
        return data

    def remove(self, sha256: str) -> None:
        """Delete a block that no row refers to; do nothing if there is none."""
        self._path(sha256).unlink(missing_ok=True)

    def remove_old(self, sha256: str, before: float) -> bool:  # Unix time, s
        """Delete a block that was last stored before this time; return whether it was deleted.

        The file is moved aside before its time is checked: a process that stores the same block
        meanwhile writes a new file.
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
        """Return whether the store holds this block."""
        return self._path(sha256).is_file()

    def every(self) -> Iterator[str]:
        """Yield the SHA-256 of each block; blocks stored meanwhile may be among them."""
        return (path.name for path in self._root.glob("??/*") if path.is_file())

    def temporary(self) -> "ScratchDirectory":
        """Return a directory on the same file system that is deleted at the end of its `with`."""
        scratch = self._root / "incoming"
        scratch.mkdir(parents=True, exist_ok=True)
        return ScratchDirectory(scratch)

    def delete_abandoned_uploads(self) -> None:
        """Delete unfinished uploads that nothing has written for a day."""
        self.delete_unfinished_uploads(before=time.time() - _ABANDONED)

    def delete_unfinished_uploads(self, before: float) -> None:  # Unix time, s
        """Delete unfinished uploads of killed processes that nothing has written since `before`."""
        for part in (self._root / "incoming").glob("part-*"):
            with suppress(FileNotFoundError):  # it has just been finished
                if part.stat().st_mtime < before:
                    shutil.rmtree(part, ignore_errors=True)

    def _touch(self, sha256: str) -> bool:
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
