"""Rows of jobs, as the pages show them; one that cannot be read says so."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy.orm import Session

from service.db.isolation import going_on
from service.db.repositories.overview import OverviewRepository
from service.db.repositories.paging import RowPage
from service.db.repositories.queue_estimate import QueueEstimateRepository
from service.db.tables import Job
from service.formatting import DASH, short_id
from service.jobs.kinds.registry import JobKinds
from service.logs import warn_in_a_line
from service.states import TERMINAL, WAITING, JobStatus


class JobRow(NamedTuple):
    """A row of the table of jobs."""

    id: str
    short: str
    kind: str
    chip_id: str | None
    chip: str
    status: str
    reason: str | None
    terminal: bool
    phase: str
    step: float | None
    steps: float | None
    accuracy: float | None
    samples: float | None
    outcome: str  # what came of it, in a few words
    created_at: datetime | None
    took: float | None  # s
    running_since: datetime | None  # of a job that runs; the browser counts on


def job_rows(
    session: Session, jobs: RowPage[Job], kinds: JobKinds, now: datetime
) -> tuple[JobRow, ...]:
    """Build the rows of jobs, with the names of their chips, newest first."""
    chips = [job.chip_id for job in jobs.rows if job.chip_id]
    names = OverviewRepository(session).chip_names(chips)
    shown = [any_job_row(job, names.get(job.chip_id or "", ""), kinds, now) for job in jobs.rows]
    reasons = _reasons_now(session, jobs.rows, now)
    shown = [_waiting(row, reasons[row.id]) if row.id in reasons else row for row in shown]
    shown += map(_unreadable_job, jobs.unreadable)
    return tuple(sorted(shown, key=lambda row: row.id, reverse=True))


def _waiting(row: JobRow, reason: str | None) -> JobRow:
    return row._replace(reason=reason, outcome=(reason or "").rstrip("."))


def _reasons_now(session: Session, jobs: Sequence[Job], now: datetime) -> dict[str, str | None]:
    """Return why the jobs that wait do so now, by their ids."""
    waiting = [job for job in jobs if job.status in WAITING]
    reasons: Mapping[str, str | None] = {}
    with going_on():  # a damaged row leaves all of them without a reason, not with an old one
        reasons = QueueEstimateRepository(session).reasons(waiting, now)
    return {job.id: reasons.get(job.id) for job in waiting}


def any_job_row(job: Job, chip: str, kinds: JobKinds, now: datetime) -> JobRow:
    """Build the row of one job, or say that what it holds cannot be read."""
    with going_on() as outcome:
        return job_row(job, chip, kinds, now)
    if outcome.error is not None:
        event = "pages: the row of a job is damaged, it is shown as unreadable"
        warn_in_a_line(__name__, event, outcome.error, job_id=job.id)
    return _unreadable_job(job.id)


def _unreadable_job(job_id: str) -> JobRow:
    return JobRow(
        id=job_id,
        short=short_id(job_id),
        kind=DASH,
        chip_id=None,
        chip="",
        status="unreadable",
        reason="the row of this job holds what cannot be read",
        terminal=False,
        phase="",
        step=None,
        steps=None,
        accuracy=None,
        samples=None,
        outcome="",
        created_at=None,
        took=None,
        running_since=None,
    )


def job_row(job: Job, chip: str, kinds: JobKinds, now: datetime) -> JobRow:
    """Build the row of one job."""
    progress, spent = job.progress or {}, job.spent or {}
    ended = job.ended_at or now
    return JobRow(
        id=job.id,
        short=short_id(job.id),
        kind=job.kind,
        chip_id=job.chip_id,
        chip=chip,
        status=job.status,
        reason=job.reason,
        terminal=job.status in TERMINAL,
        phase=str(progress.get("phase") or ""),
        step=figure_of(progress.get("step")),
        steps=figure_of(progress.get("steps")),
        accuracy=_accuracy(job.result),  # verified; not that of a batch
        samples=figure_of(spent.get("samples")),
        outcome=outcome(job, kinds),
        created_at=job.created_at,
        took=(ended - job.started_at).total_seconds() if job.started_at else None,
        running_since=None if job.ended_at else job.started_at,
    )


def outcome(job: Job, kinds: JobKinds) -> str:
    """Describe the result of a job in a few words, or why it did not succeed."""
    if job.status != JobStatus.SUCCEEDED:
        return (job.reason or "").rstrip(".")
    if job.kind not in kinds:  # a job of another release
        return ""
    return kinds[job.kind].outcome(job.result or {})


def figure_of(value: object) -> float | None:
    """Return a figure of a row; None for anything else that may stand there."""
    return value if isinstance(value, int | float) else None


def _accuracy(result: Mapping[str, Any] | None) -> float | None:
    accuracy = (result or {}).get("accuracy") or (result or {}).get("teacher_accuracy")
    if not isinstance(accuracy, Mapping):
        return None
    for name in ("after", "now", "golden", "test"):
        if isinstance(figure := accuracy.get(name), int | float):
            return float(figure)
    return None
