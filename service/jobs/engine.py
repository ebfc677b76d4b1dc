"""The port of the job engine: it decides when a job runs, the lease decides who drives a chip."""

from collections.abc import Sequence
from typing import Protocol

from sqlalchemy.orm import Session

from service.db.tables import Job


class JobEngine(Protocol):
    """Starts each enqueued job once, sooner or later, also after a crash."""

    @property
    def runs_jobs_here(self) -> bool:
        """Whether the jobs run on this machine, and not on those of workers."""
        ...

    def enqueue(self, session: Session, jobs: Sequence[Job]) -> None:
        """Queue the jobs in the caller's transaction: all are kept, or none."""
        ...

    def cancel_queued(self, job_id: str) -> None:
        """Forget a job, unless it has started. Raises JobNotFoundError."""
        ...

    def launch(self) -> None:
        """Begin: what was queued is started, here or by workers."""
        ...

    def stop(self) -> None:
        """Start no more jobs; those that run here go on elsewhere, or at the next launch."""
        ...
