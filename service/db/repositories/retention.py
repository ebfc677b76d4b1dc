"""Rows that are kept for a time only: progress and log lines, checkpoints, the planner's keys.

All other events stay: they are the audit trail.
"""

from datetime import datetime

from sqlalchemy import delete, select, text, update
from sqlalchemy.orm import Session

from service.db.access_tables import PLANNER_KEYS, IdempotencyKey
from service.db.tables import KEPT_CHECKPOINTS, TRANSIENT_EVENTS, Event, Job


class RetentionRepository:
    """Deletes up to `batch` rows at a time, so that nobody waits long for the database."""

    def __init__(self, session: Session, batch: int) -> None:
        self._session = session
        self._batch = batch

    def forget_events(self, type: str, before: datetime) -> int:
        """Delete events of ended jobs from before then; return how many there were."""
        ended = select(Job.id).where(Job.id == Event.job_id, Job.ended_at.is_not(None))
        old = (
            select(Event.seq)
            .where(
                text(TRANSIENT_EVENTS),
                Event.type == type,
                Event.created_at < before,
                ended.exists(),
            )
            .order_by(Event.created_at)
            .limit(self._batch)
        )
        return self._count(delete(Event).where(Event.seq.in_(old)).returning(Event.seq))

    def forget_keys(self, before: datetime) -> int:
        """Delete keys of the planner from before then; return how many there were."""
        old = select(IdempotencyKey.key).where(
            text(PLANNER_KEYS), IdempotencyKey.created_at < before
        )
        return self._count(
            delete(IdempotencyKey)
            .where(text(PLANNER_KEYS), IdempotencyKey.key.in_(old.limit(self._batch)))
            .returning(IdempotencyKey.key)
        )

    def checkpoints(self, before: datetime) -> list[str]:
        """Drop the checkpoints of jobs that ended before then; return their blocks, now unnamed."""
        old = (
            select(Job.id, Job.checkpoint_sha256)
            .where(text(KEPT_CHECKPOINTS), Job.ended_at < before)
            .limit(self._batch)
        )
        found = self._session.execute(old).all()
        self._session.execute(
            update(Job)
            .where(Job.id.in_([row.id for row in found]))
            .values(checkpoint_sha256=None, checkpoint_step=None)
        )
        return [str(row.checkpoint_sha256) for row in found]

    def _count(self, statement: object) -> int:
        return len(self._session.execute(statement).all())  # type: ignore[call-overload]
