"""Retention: deletes rows and blocks that are too old, and blocks that no row names."""

import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import NamedTuple, Protocol

from sqlalchemy.orm import Session

from service.artifacts import ArtifactStore
from service.db import locks
from service.db.repositories.artifact_references import ArtifactReferenceRepository
from service.db.repositories.retention import RetentionRepository
from service.db.session import Database, clock
from service.jobs.periodic import apart

_FAILED = "retention: old rows of one kind were not deleted, they stay until the next look"
PROGRESS, LOG = "job.progress", "job.log"
_BATCH = 500  # rows in one transaction
_YOUNG = 24 * 3600.0  # s in which whoever stored a block names it in a row
_KEYS = timedelta(days=2)  # far longer than two planners can be apart


class RetentionPeriods(NamedTuple):
    """How long things are kept: events since they happened, the others since their job ended."""

    progress: timedelta
    logs: timedelta
    checkpoints: timedelta
    dispatches: timedelta


class DispatchHistory(Protocol):
    """What the job engine keeps of dispatches that are over."""

    def forget(self, before: datetime, most: int) -> int:
        """Delete up to `most` of them from before then; return how many."""
        ...


class Retention:
    """Deletes, in batches, what is too old in one database and its artifact store."""

    def __init__(
        self,
        database: Database,
        artifacts: ArtifactStore,
        dispatches: DispatchHistory,
        periods: RetentionPeriods,
    ) -> None:
        self._database = database
        self._artifacts = artifacts
        self._dispatches = dispatches
        self._periods = periods

    def forget(self) -> int:
        """Delete one batch of each; return how many rows, blocks and dispatches are gone.

        An error of one kind is logged, and the others are deleted all the same.
        """
        now, keep = self._now(), self._periods
        steps: dict[str, Callable[[], int]] = {
            "progress": lambda: self._forget_events(PROGRESS, now - keep.progress),
            "log lines": lambda: self._forget_events(LOG, now - keep.logs),
            "planner's keys": lambda: self._delete(lambda rows: rows.forget_keys(now - _KEYS)),
            "checkpoints": lambda: self._forget_checkpoints(now - keep.checkpoints),
            "dispatches": lambda: self._dispatches.forget(now - keep.dispatches, _BATCH),
        }
        return sum(apart(step, _FAILED, what=what) or 0 for what, step in steps.items())

    def _forget_events(self, type: str, before: datetime) -> int:
        return self._delete(lambda rows: rows.forget_events(type, before))

    def _delete(self, work: Callable[[RetentionRepository], int]) -> int:
        with self._database.writing() as session:
            if not _alone(session):
                return 0
            return work(RetentionRepository(session, _BATCH))

    def _forget_checkpoints(self, before: datetime) -> int:
        """Delete the rows first: a block without a row is swept up, a row without one is wrong."""
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


class OrphanSweep:
    """Removes orphan blocks: no row names them, as after a crash between two writes.

    A block is stored first and named then, so a young one stays.
    Storing a block that is there already makes it young again: nothing can come to name a block
    while it is being removed.
    """

    def __init__(self, database: Database, artifacts: ArtifactStore) -> None:
        self._database = database
        self._artifacts = artifacts

    def remove_orphans(self) -> int:
        """Remove the orphans that are a day old; return how many there were."""
        before = time.time() - _YOUNG
        stored = set(self._artifacts.every())
        with self._database.reading() as session:
            orphans = stored - ArtifactReferenceRepository(session).referenced()
        return sum(self._artifacts.remove_old(sha256, before) for sha256 in orphans)


def _alone(session: Session) -> bool:
    """Return whether no other process is at it."""
    return locks.try_hold(session, locks.RETENTION)
