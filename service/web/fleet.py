"""Data of the fleet page: a headline, a row for each chip, a row for each job."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy.orm import Session

from service.db.repositories.agents import AgentRepository
from service.db.repositories.chips import ChipFilter, ChipRepository
from service.db.repositories.fingerprints import FingerprintRepository
from service.db.repositories.jobs import JobFilter, JobRepository
from service.db.repositories.overview import LastCalibration, OverviewRepository
from service.db.repositories.paging import PageRequest, RowPage
from service.db.tables import Chip, Job
from service.formatting import DASH, loss_text, percent, plural, points, score_text, short_id
from service.jobs.kinds.registry import JobKinds
from service.states import TERMINAL, ChipHealth, ChipState, JobStatus
from service.web.drift import PROBES_SHOWN, Sparkline, sparkline

_LEFT, _RIGHT = 8, 192  # of the small drawing of a recovery, px
_CHIPS_SHOWN, _JOBS_SHOWN = 200, 25
_ATTENTION = (ChipHealth.GOOD, ChipHealth.DRIFTING, ChipHealth.BAD, ChipHealth.UNKNOWN)


class Recovery(NamedTuple):
    """Accuracy of a chip before and after its last calibration, and of its golden student."""

    job_id: str
    before: float
    after: float
    golden: float

    @property
    def x_before(self) -> float:
        """Horizontal position of the accuracy before, in pixels."""
        return _pixel(self.before)

    @property
    def x_after(self) -> float:
        """Horizontal position of the accuracy after, in pixels."""
        return _pixel(self.after)

    @property
    def x_golden(self) -> float:
        """Horizontal position of the golden student's accuracy, in pixels."""
        return _pixel(self.golden)

    @property
    def sentence(self) -> str:
        """The figures as a sentence."""
        return (
            f"before {percent(self.before)}, after {percent(self.after)} "
            f"({points(self.after - self.before)}); golden student {percent(self.golden)}"
        )


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


class ChipRow(NamedTuple):
    """A row of the table of chips."""

    id: str
    name: str
    model: str
    health: str
    state: str
    accuracy: float | None
    drift: str  # as last probed
    loss: str  # as predicted then
    valid_until: datetime | None
    probes: Sparkline | None
    recovery: Recovery | None
    version: int | None
    queue: int
    job: JobRow | None


class Fleet(NamedTuple):
    """All data of the fleet page."""

    headline: str
    chips: tuple[ChipRow, ...]
    chips_cursor: str | None
    jobs: tuple[JobRow, ...]
    jobs_cursor: str | None


class FleetQuery(NamedTuple):
    """Which pages of the two lists to show, from the query of the address."""

    chips: str | None = None  # cursor of the list of chips
    jobs: str | None = None  # cursor of the list of jobs


def read_fleet(session: Session, query: FleetQuery, kinds: JobKinds, now: datetime) -> Fleet:
    """Read the data of the fleet page."""
    overview = OverviewRepository(session)
    chips = _chips(session, query)
    jobs = JobRepository(session).list(JobFilter(), PageRequest(_JOBS_SHOWN, query.jobs))
    return Fleet(
        headline=_headline(overview.health_counts(), overview.open_jobs()),
        chips=_chip_rows(session, chips, kinds, now),
        chips_cursor=chips.next_cursor,
        jobs=_job_rows(session, jobs, kinds, now),
        jobs_cursor=jobs.next_cursor,
    )


def _job_rows(
    session: Session, jobs: RowPage[Job], kinds: JobKinds, now: datetime
) -> tuple[JobRow, ...]:
    """Build the rows of jobs, with the names of their chips, newest first."""
    chips = [job.chip_id for job in jobs.rows if job.chip_id]
    names = OverviewRepository(session).chip_names(chips)
    shown = [_row_of_any(job, names.get(job.chip_id or "", ""), kinds, now) for job in jobs.rows]
    shown += map(_unreadable_job, jobs.unreadable)
    return tuple(sorted(shown, key=lambda row: row.id, reverse=True))


def _row_of_any(job: Job, chip: str, kinds: JobKinds, now: datetime) -> JobRow:
    """Build the row of one job, or say that what it holds cannot be read."""
    try:
        return job_row(job, chip, kinds, now)
    except Exception:  # whatever one row can hold
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
        step=_figure(progress.get("step")),
        steps=_figure(progress.get("steps")),
        accuracy=_accuracy(job.result) or _figure(progress.get("accuracy")),
        samples=_figure(spent.get("samples")),
        outcome=outcome(job, kinds),
        created_at=job.created_at,
        took=(ended - job.started_at).total_seconds() if job.started_at else None,
    )


def outcome(job: Job, kinds: JobKinds) -> str:
    """Describe the result of a job in a few words, or why it did not succeed."""
    if job.status != JobStatus.SUCCEEDED:
        return (job.reason or "").rstrip(".")
    if job.kind not in kinds:  # a job of another release
        return ""
    return kinds[job.kind].outcome(job.result or {})


def recovery_of(job_id: str, result: Mapping[str, Any] | None) -> Recovery | None:
    """Read accuracy before and after from the result of a calibration; None for other results."""
    accuracy = (result or {}).get("accuracy")
    if not isinstance(accuracy, Mapping):
        return None
    figures = [accuracy.get(name) for name in ("before", "after", "golden")]
    if not all(isinstance(figure, int | float) for figure in figures):
        return None
    before, after, golden = (float(figure) for figure in figures if figure is not None)
    return Recovery(job_id, before, after, golden)


def _chips(session: Session, query: FleetQuery) -> RowPage[Chip]:
    page = PageRequest(_CHIPS_SHOWN, query.chips, oldest_first=True)
    return ChipRepository(session).list(ChipFilter(), page)


def _chip_rows(
    session: Session, chips: RowPage[Chip], kinds: JobKinds, now: datetime
) -> tuple[ChipRow, ...]:
    ids = [chip.id for chip in chips.rows]
    overview = OverviewRepository(session)
    last, running = overview.last_calibrations(ids), overview.running_jobs(ids)
    depth = JobRepository(session).queue_depth(ids)
    offline = AgentRepository(session).offline(ids, now)
    scores = FingerprintRepository(session).last_scores(ids, PROBES_SHOWN)
    names = {chip.id: chip.name for chip in chips.rows}
    now_running = {id: _row_of_any(job, names[id], kinds, now) for id, job in running.items()}

    def row_of(chip: Chip) -> ChipRow:
        id = chip.id
        row = _chip_row(chip, last.get(id), depth.get(id, 0), now_running.get(id))
        row = row._replace(probes=sparkline(scores.get(id, ())))
        return row._replace(state=ChipState.OFFLINE) if id in offline else row

    rows, unreadable = [], dict(overview.chip_names(chips.unreadable))
    for chip in chips.rows:
        try:
            rows.append(row_of(chip))
        except Exception:  # whatever one row can hold
            unreadable[chip.id] = chip.name
    rows += [_unreadable_chip(id, name) for id, name in unreadable.items()]
    return tuple(sorted(rows, key=lambda row: row.id))


def _unreadable_chip(chip_id: str, name: str) -> ChipRow:
    return ChipRow(
        id=chip_id,
        name=name,
        model="its row cannot be read",
        health=ChipHealth.UNKNOWN,
        state=DASH,
        accuracy=None,
        drift=DASH,
        loss=DASH,
        valid_until=None,
        probes=None,
        recovery=None,
        version=None,
        queue=0,
        job=None,
    )


def _chip_row(chip: Chip, last: LastCalibration | None, queue: int, job: JobRow | None) -> ChipRow:
    return ChipRow(
        id=chip.id,
        name=chip.name,
        model=str(chip.settings.get("preset") or chip.info.get("model") or chip.backend),
        health=chip.health,
        state="running" if job else "idle",
        accuracy=_figure(chip.accuracy),
        drift=score_text(chip.drift_score),
        loss=loss_text(chip.predicted_loss),
        valid_until=chip.valid_until,
        probes=None,
        recovery=recovery_of(last.job_id, last.result) if last else None,
        version=chip.version_in_force,
        queue=queue,
        job=job,
    )


def _headline(health: Mapping[str, int], jobs: Mapping[str, int]) -> str:
    total = sum(count for name, count in health.items() if name != ChipHealth.RETIRED)
    parts = [f"{health[name]} {name}" for name in _ATTENTION if health.get(name)]
    chips = f"{plural(total, 'chip')}: {', '.join(parts)}" if parts else "No chips yet"
    running = jobs.get(JobStatus.RUNNING, 0) + jobs.get(JobStatus.CANCELLING, 0)
    waiting = jobs.get(JobStatus.QUEUED, 0) + jobs.get(JobStatus.WAITING_FOR_CHIP, 0)
    busy = [f"{plural(running, 'job')} running"] * (running > 0) + [f"{waiting} waiting"] * (
        waiting > 0
    )
    return f"{chips}. {', '.join(busy)}." if busy else f"{chips}."


def _figure(value: object) -> float | None:
    """Return a figure of a job's JSON; None for anything else that may stand there."""
    return value if isinstance(value, int | float) else None


def _accuracy(result: Mapping[str, Any] | None) -> float | None:
    accuracy = (result or {}).get("accuracy") or (result or {}).get("teacher_accuracy")
    if not isinstance(accuracy, Mapping):
        return None
    for name in ("after", "now", "golden", "test"):
        if isinstance(figure := accuracy.get(name), int | float):
            return float(figure)
    return None


def _pixel(share: float) -> float:
    return round(_LEFT + share * (_RIGHT - _LEFT), 1)
