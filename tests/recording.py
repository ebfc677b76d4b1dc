"""A job engine for tests of everything around it."""

from collections.abc import Sequence

from sqlalchemy.orm import Session

from service.db.tables import Job


class RecordingEngine:
    """A job engine that starts nothing and remembers what it was told."""

    runs_jobs_here = True

    def __init__(self) -> None:
        self.queued: list[str] = []
        self.cancelled: list[str] = []
        self.running = False

    def enqueue(self, session: Session, jobs: Sequence[Job]) -> None:
        assert session.in_transaction()
        self.queued.extend(job.id for job in jobs)

    def cancel_queued(self, job_id: str) -> None:
        self.cancelled.append(job_id)

    def launch(self) -> None:
        self.running = True

    def stop(self) -> None:
        self.running = False
