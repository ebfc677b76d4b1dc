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
    """The free space of one folder, looked up once a second at most."""

    def __init__(self, folder: Path, reserve: int) -> None:
        """`reserve` bytes are kept for what was accepted already."""
        self._folder, self._reserve = folder, reserve
        self._looked_at, self._free = -_LOOK, 0

    def check(self) -> None:
        """Raise StorageFullError if less than the reserve is free."""
        now = time.monotonic()
        if now - self._looked_at >= _LOOK:
            found = os.statvfs(self._folder)
            self._looked_at, self._free = now, found.f_bavail * found.f_frsize
        if self._free < self._reserve:
            raise StorageFullError(self._folder)


def is_full(error: BaseException) -> bool:
    """Tell whether a write failed because the disk, or the quota on it, is full."""
    if isinstance(error, OSError):
        return error.errno in _FULL
    return "disk is full" in str(error)  # of SQLite, inside an error of SQLAlchemy
