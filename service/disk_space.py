"""Room on the disk of the data folder: nothing is accepted that could not be stored to its end."""

import errno
import os
import time
from pathlib import Path

from service.errors import ServiceError

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_LOOK = 1.0  # s between two looks at the disk


class StorageFullError(ServiceError):
    """The disk has no room for what would have to be stored."""

    def __init__(self, folder: Path) -> None:
        super().__init__(
            f"The disk of {folder} is nearly full: running jobs wait, and nothing new is accepted. "
            "Free some space, and send the request again."
        )


class DiskSpace:
    """The free space of folders, which may be on several disks, looked up once a second at most."""

    def __init__(self, folder: Path, reserve: int, *others: Path) -> None:
        """`reserve` bytes are kept on each disk for what was accepted already."""
        self._folders, self._reserve = (folder, *others), reserve
        self._tightest = folder
        self._looked_at, self._free = -_LOOK, 0

    def check(self) -> None:
        """Raise StorageFullError if less than the reserve is free."""
        now = time.monotonic()
        if now - self._looked_at >= _LOOK:
            free = {folder: _free_bytes(folder) for folder in self._folders if folder.exists()}
            self._tightest = min(free, key=lambda folder: free[folder])
            self._looked_at, self._free = now, free[self._tightest]
        if self._free < self._reserve:
            raise StorageFullError(self._tightest)


def _free_bytes(folder: Path) -> int:
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize


def is_full(error: BaseException) -> bool:
    """Tell whether a write failed because the disk, or the quota on it, is full."""
    if isinstance(error, OSError):
        return error.errno in _FULL
    return "disk is full" in str(error)  # of SQLite, inside an error of SQLAlchemy
