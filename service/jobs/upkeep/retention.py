"""Forgetting, by a few rows at a time, what nobody looks at after so many days."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import NamedTuple, Protocol

from sqlalchemy.orm import Session

from service.artifacts import ArtifactStore
from service.db import locks
from service.db.repositories.retention import RetentionRepository
from service.db.session import Database, clock

PROGRESS, LOG = "job.progress", "job.log"
_BATCH = 500  # rows in one transaction
_KEYS = timedelta(days=2)  # far longer than two planners can be apart


class Keep(NamedTuple):
    """How long after it was told, or after its job's end."""

    progress: timedelta
    logs: timedelta
    checkpoints: timedelta
    turns: timedelta


class Turns(Protocol):
    """What the job engine keeps of turns that are over."""

    def forget(self, before: datetime, most: int) -> int: ...


class Retention:
    """Looks after one database and its store."""

    def __init__(
        self, database: Database, artifacts: ArtifactStore, turns: Turns, keep: Keep
    ) -> None:
        self._database = database
        self._artifacts = artifacts
        self._turns = turns
        self._keep = keep

    def forget(self) -> int:
        """One batch of each; how many rows, blocks and turns are gone."""
        now = self._now()
        keep = self._keep
        return (
            self._delete(lambda rows: rows.forget_events(PROGRESS, now - keep.progress))
            + self._delete(lambda rows: rows.forget_events(LOG, now - keep.logs))
            + self._delete(lambda rows: rows.forget_keys(now - _KEYS))
            + self._forget_checkpoints(now - keep.checkpoints)
            + self._turns.forget(now - keep.turns, _BATCH)
        )

    def _delete(self, work: Callable[[RetentionRepository], int]) -> int:
        with self._database.writing() as session:
            if not _alone(session):
                return 0
            return work(RetentionRepository(session, _BATCH))

    def _forget_checkpoints(self, before: datetime) -> int:
        """The rows first: a block without a row is swept up, the other way round is an error."""
        with self._database.writing() as session:
            blocks = (
                RetentionRepository(session, _BATCH).checkpoints(before) if _alone(session) else []
            )
        for sha256 in blocks:
            self._artifacts.remove(sha256)
        return len(blocks)

    def _now(self) -> datetime:
        with self._database.reading() as session:
            return clock(session)


def _alone(session: Session) -> bool:
    return locks.try_hold(session, locks.RETENTION)
