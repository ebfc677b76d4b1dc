"""Data of the fleet page: a headline, a row for each chip, a row for each job."""

from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

from sqlalchemy.orm import Session

from service.db.isolation import going_on
from service.db.repositories.agents import AgentRepository
from service.db.repositories.chips import ChipFilter, ChipRepository
from service.db.repositories.fingerprints import FingerprintRepository
from service.db.repositories.jobs import JobFilter, JobRepository
from service.db.repositories.overview import LastCalibration, OverviewRepository
from service.db.repositories.paging import PageRequest, RowPage
from service.db.tables import Chip
from service.formatting import DASH, loss_text, plural, score_text
from service.jobs.kinds.registry import JobKinds
from service.logs import warn_in_a_line
from service.states import ChipHealth, ChipState, JobStatus
from service.web.drift import PROBES_SHOWN, Sparkline, sparkline
from service.web.job_rows import JobRow, any_job_row, figure_of, job_rows
from service.web.recovery import Recovery, recovery_of

_CHIPS_SHOWN, _JOBS_SHOWN = 200, 25
_ATTENTION = (
    ChipHealth.GOOD,
    ChipHealth.DRIFTING,
    ChipHealth.BAD,
    ChipHealth.UNKNOWN,
    ChipState.OFFLINE,
)


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
        headline=_headline(_health_counts(session, now), overview.open_jobs()),
        chips=_chip_rows(session, chips, kinds, now),
        chips_cursor=chips.next_cursor,
        jobs=job_rows(session, jobs, kinds, now),
        jobs_cursor=jobs.next_cursor,
    )


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
    now_running = {id: any_job_row(job, names[id], kinds, now) for id, job in running.items()}

    def row_of(chip: Chip) -> ChipRow:
        id = chip.id
        row = _chip_row(chip, last.get(id), depth.get(id, 0), now_running.get(id))
        row = row._replace(probes=sparkline(scores.get(id, ())))
        return _as_offline(row) if id in offline and chip.retired_at is None else row

    rows, unreadable = [], dict(overview.chip_names(chips.unreadable))
    for chip in chips.rows:
        with going_on() as outcome:
            rows.append(row_of(chip))
        if outcome.error is not None:
            event = "pages: the row of a chip is damaged, it is shown as unreadable"
            warn_in_a_line(__name__, event, outcome.error, chip_id=chip.id)
            unreadable[chip.id] = chip.name
    rows += [_unreadable_chip(id, name) for id, name in unreadable.items()]
    return tuple(sorted(rows, key=lambda row: row.id))


def _as_offline(row: ChipRow) -> ChipRow:
    """Show a chip that cannot be reached as such: its last health says nothing of now."""
    return row._replace(state=ChipState.OFFLINE, health=ChipState.OFFLINE)


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
        accuracy=figure_of(chip.accuracy),
        drift=score_text(chip.drift_score),
        loss=loss_text(chip.predicted_loss),
        valid_until=chip.valid_until,
        probes=None,
        recovery=recovery_of(last.job_id, last.result) if last else None,
        version=chip.version_in_force,
        queue=queue,
        job=job,
    )


def _health_counts(session: Session, now: datetime) -> dict[str, int]:
    """Count the chips of each health; those that are offline count as offline alone."""
    known = OverviewRepository(session).health_counts()
    offline = AgentRepository(session).offline_counts(now)
    counts = {name: count - offline.get(name, 0) for name, count in known.items()}
    return counts | {ChipState.OFFLINE: sum(offline.values())}


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
