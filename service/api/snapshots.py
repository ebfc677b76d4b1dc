"""Resources as they are sent at one moment."""

from typing import NamedTuple


class JobSnapshot(NamedTuple):
    """A job as the API shows it."""

    body: bytes  # JSON
    etag: str
    terminal: bool

    def is_awaited(self, known: str | None) -> bool:
        """Tell whether the job has ended or, for a client that knows some tags, has changed."""
        return self.terminal if known is None else self.etag not in known
