"""Shortages of the service itself, of descriptors, memory or disk: jobs wait for their end."""

import errno

from service.errors import ServiceError

_LACKS = {
    errno.EMFILE: "file descriptors",
    errno.ENFILE: "file descriptors",
    errno.ENOMEM: "memory",
    errno.ENOSPC: "room on the disk",
    errno.EDQUOT: "room on the disk",
}


class ShortageError(ServiceError):
    """The service lacks what a job needs of it."""

    def __init__(self, lack: str) -> None:
        super().__init__(f"the service lacks {lack}; the job goes on when there is enough")
        self.lack = lack


def lack_of(error: BaseException) -> str | None:
    """Return what the service lacks if that is why a call of the system failed, else None."""
    return _LACKS.get(error.errno or 0) if isinstance(error, OSError) else None
