"""The error by which cancelled work leaves its loop."""

from service.jobs.messages import Ended
from service.states import JobStatus


class CancelledWorkError(Exception):
    """The job was cancelled between two steps; what it leaves behind stands in `ended`."""

    def __init__(self, ended: Ended) -> None:
        super().__init__(ended.reason)
        self.ended = ended


def cancelled(reason: str, *, chip_state_sha256: str | None = None) -> CancelledWorkError:
    """Make the error that is raised where the work stops."""
    return CancelledWorkError(
        Ended(
            status=JobStatus.CANCELLED,
            reason=reason,
            chip_state_sha256=chip_state_sha256,
        )
    )
