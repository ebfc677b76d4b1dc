"""Jobs as the API shows them: several are read at once, and what has not changed is not made anew.

A client asks for its job again and again, and mostly finds it as it was. To read a row as it stands
is cheap; to parse its JSON, to build the view and to write it as JSON again is not.
"""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any, NamedTuple

from sqlalchemy import JSON, Row, Text, bindparam, cast, select
from sqlalchemy.orm import Session

from service.api.context import utc_now
from service.api.one_row import one_row
from service.api.snapshots import JobSnapshot
from service.api.views import job_view_with
from service.db.repositories.queue_estimate import QueueEstimate, QueueEstimateRepository
from service.db.session import Database
from service.db.tables import Job
from service.digests import etag
from service.errors import JobNotFoundError
from service.states import TERMINAL

_KEPT_BYTES = 16 * 2**20  # of all bodies that are kept; what they are made of takes as much again
_BODY_BYTES = 16 * 1024  # of one; larger ones are made anew
_COLUMNS: tuple[Any, ...] = tuple(
    cast(column, Text).label(column.name) if isinstance(column.type, JSON) else column
    for column in Job.__table__.columns
)
_ROWS = select(*_COLUMNS).where(Job.id.in_(bindparam("ids", expanding=True)))


class _State(NamedTuple):
    """All that the view of a job is made of. JSON is text here, as it stands in the database."""

    row: tuple[Any, ...]
    estimate: QueueEstimate


class JobReader:
    """Reads jobs. One thread at a time may do so."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._kept: dict[str, tuple[_State, JobSnapshot]] = {}  # those asked for last at the end
        self._kept_bytes = 0

    def read(self, job_ids: Sequence[str]) -> Sequence[JobSnapshot | Exception]:
        """Return each of these jobs, or JobNotFoundError.

        Raises what one damaged row causes; where that is the only one, RowDamagedError.
        """
        wanted = set(job_ids)
        alone = one_row("job", job_ids[0]) if len(wanted) == 1 else nullcontext()
        # A row that changes between two queries is read again the next time.
        with self._database.reading_apart() as session, alone:
            found = self._read(session, wanted)
        return [found.get(job_id) or JobNotFoundError(job_id) for job_id in job_ids]

    def _read(self, session: Session, job_ids: set[str]) -> Mapping[str, JobSnapshot]:
        rows = session.execute(_ROWS, {"ids": sorted(job_ids)}).all()
        states = _states(session, rows)
        found = {}
        for job_id, state in states.items():
            kept, snapshot = self._take(job_id)
            if snapshot is not None and kept == state:
                found[job_id] = snapshot
        changed = sorted(states.keys() - found.keys())
        if changed:
            for job in session.scalars(select(Job).where(Job.id.in_(changed))):
                found[job.id] = _snapshot(job, states[job.id].estimate)
        self._keep(states, found)
        return found

    def _keep(self, states: Mapping[str, _State], found: Mapping[str, JobSnapshot]) -> None:
        for job_id, snapshot in found.items():
            if len(snapshot.body) <= _BODY_BYTES:
                self._kept[job_id] = (states[job_id], snapshot)
                self._kept_bytes += len(snapshot.body)
        while self._kept_bytes > _KEPT_BYTES:
            self._take(next(iter(self._kept)))

    def _take(self, job_id: str) -> tuple[_State | None, JobSnapshot | None]:
        """Return what is kept of a job, and keep it no more."""
        kept, snapshot = self._kept.pop(job_id, (None, None))
        self._kept_bytes -= 0 if snapshot is None else len(snapshot.body)
        return kept, snapshot


def _states(session: Session, rows: Sequence[Row[Any]]) -> dict[str, _State]:
    estimates = QueueEstimateRepository(session).of(rows, utc_now())
    unknown = QueueEstimate()
    return {row.id: _State(tuple(row), estimates.get(row.id, unknown)) for row in rows}


def _snapshot(job: Job, estimate: QueueEstimate) -> JobSnapshot:
    body = job_view_with(job, estimate).model_dump_json().encode()
    return JobSnapshot(body, etag(body), job.status in TERMINAL)
