"""Content-addressed store: immutable blocks in files named by the SHA-256 of their bytes."""

import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from service.damage_errors import ArtifactCorruptError, ArtifactMissingError
from service.digests import sha256_hex
from service.disk_space import is_full

_ABANDONED = 24 * 3600.0  # s without a write after which an upload is taken for unfinished
_CHECKED_FOR = 24 * 3600.0  # s for which a checked file need not be read as a whole again
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

    def checked_file(self, sha256: str) -> Path:
        """Return the file of a block, to map a large one of which little is needed.

        Its bytes are read and compared with the SHA-256 unless that was done within a day, and the
        file has not been touched since. Raises ArtifactMissingError and ArtifactCorruptError.
        """
        path, note = self._path(sha256), self._note(sha256)
        try:
            found = _version_of(path)
            if not _is_noted(note, found):
                with path.open("rb") as file:
                    if hashlib.file_digest(file, "sha256").hexdigest() != sha256:
                        raise ArtifactCorruptError(sha256)
                self._write_note(note, found)
        except FileNotFoundError:
            raise ArtifactMissingError(sha256) from None
        return path

    def _note(self, sha256: str) -> Path:
        return self._root / "checked" / sha256

    def _write_note(self, note: Path, found: str) -> None:
        """Write down which version of a file was checked; a full disk keeps nobody from reading."""
        with suppress(OSError), self.temporary() as scratch:
            written = scratch / "note"
            written.write_text(found)
            note.parent.mkdir(exist_ok=True)
            written.replace(note)

    def remove(self, sha256: str) -> None:
        """Delete a block that no row refers to; do nothing if there is none."""
        self._path(sha256).unlink(missing_ok=True)
        self._note(sha256).unlink(missing_ok=True)

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
                self._note(sha256).unlink(missing_ok=True)
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


def _version_of(path: Path) -> str:
    """Return what changes whenever a file is written, replaced or touched."""
    found = path.stat()
    return f"{found.st_ino} {found.st_size} {found.st_mtime_ns} {found.st_ctime_ns}"


def _is_noted(note: Path, found: str) -> bool:
    """Tell whether this version of a file was checked lately."""
    try:
        return note.stat().st_mtime > time.time() - _CHECKED_FOR and note.read_text() == found
    except FileNotFoundError:
        return False


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
