"""Data of the fleet page: a headline, a row for each chip, a row for each job."""

from collections import Counter
from collections.abc import Mapping, Sequence, Set
from datetime import datetime
from typing import NamedTuple

from sqlalchemy.orm import Session

from service.db.isolation import going_on
from service.db.repositories.agents import AgentRepository
from service.db.repositories.chip_queues import ChipQueue, ChipQueueRepository
from service.db.repositories.chips import ChipRepository
from service.db.repositories.fingerprints import FingerprintRepository
from service.db.repositories.job_conditions import JobFilter
from service.db.repositories.jobs import JobRepository
from service.db.repositories.overview import ChipFacts, LastCalibration, OverviewRepository
from service.db.repositories.paging import PageRequest
from service.db.tables import Chip
from service.formatting import DASH, loss_text, plural, score_text
from service.jobs.kinds.registry import JobKinds
from service.logs import warn_in_a_line
from service.states import ACTIVE, ChipHealth, ChipState, JobStatus
from service.web.fleet.drift import PROBES_SHOWN, Sparkline, sparkline
from service.web.fleet.survey import FleetSort, Strip, Wanted, chosen, strip
from service.web.job.rows import JobRow, any_job_row, figure_of, job_rows
from service.web.plots.recovery import Axis, Recovery, axis_of, recovery_of

_CHIPS_SHOWN, _JOBS_SHOWN = 100, 25
_RUNNING_SHOWN = 10
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
    strip: Strip
    chips: tuple[ChipRow, ...]
    chips_found: int  # on all pages
    chips_known: int  # whatever is asked for
    next_page: int | None
    axis: Axis  # of the accuracies before and after
    running: tuple[JobRow, ...]
    jobs: tuple[JobRow, ...]
    jobs_cursor: str | None


class FleetQuery(NamedTuple):
    """Which part of the two lists to show, from the query of the address."""

    q: str = ""  # part of the name of a chip
    health: str = ""
    sort: FleetSort = FleetSort.WORST
    page: int = 1  # of the chips
    jobs: str | None = None  # cursor of the list of jobs


def read_fleet(session: Session, query: FleetQuery, kinds: JobKinds, now: datetime) -> Fleet:
    """Read the data of the fleet page."""
    overview, repository = OverviewRepository(session), JobRepository(session)
    known = _known(session, now)
    found = chosen(known, Wanted(query.q, query.health, query.sort))
    begin = _CHIPS_SHOWN * (query.page - 1)
    rows = _chip_rows(session, found[begin : begin + _CHIPS_SHOWN], kinds, now)
    axis = axis_of([row.recovery for row in rows if row.recovery])
    jobs = repository.list(JobFilter(), PageRequest(_JOBS_SHOWN, query.jobs))
    running = repository.list(JobFilter(status=tuple(ACTIVE)), PageRequest(_RUNNING_SHOWN))
    return Fleet(
        headline=_headline(Counter(chip.health for chip in known), overview.open_jobs()),
        strip=strip(found),
        chips=tuple(row._replace(recovery=_on(axis, row.recovery)) for row in rows),
        chips_found=len(found),
        chips_known=len(known),
        next_page=query.page + 1 if begin + _CHIPS_SHOWN < len(found) else None,
        axis=axis,
        running=job_rows(session, running, kinds, now),
        jobs=job_rows(session, jobs, kinds, now),
        jobs_cursor=jobs.next_cursor,
    )


def found_chips(session: Session, query: FleetQuery, now: datetime) -> list[ChipFacts]:
    """Read all chips that are asked for, in the order of the table."""
    return chosen(_known(session, now), Wanted(query.q, query.health, query.sort))


def _known(session: Session, now: datetime) -> list[ChipFacts]:
    chips = OverviewRepository(session).all_chips()
    return _as_reached(chips, AgentRepository(session).all_offline(now))


def _on(axis: Axis, recovery: Recovery | None) -> Recovery | None:
    return None if recovery is None else recovery._replace(axis=axis)


def _as_reached(chips: Sequence[ChipFacts], offline: Set[str]) -> list[ChipFacts]:
    """Show chips that cannot be reached as such: their last health says nothing of now."""
    return [
        chip._replace(health=ChipState.OFFLINE)
        if chip.id in offline and chip.health != ChipHealth.RETIRED
        else chip
        for chip in chips
    ]


def _chip_rows(
    session: Session, shown: Sequence[ChipFacts], kinds: JobKinds, now: datetime
) -> list[ChipRow]:
    """Return the rows of these chips, in the same order."""
    chips = ChipRepository(session).some([chip.id for chip in shown])
    found: list[Chip] = [row[0] for row in chips.rows]
    ids = [chip.id for chip in found]
    overview = OverviewRepository(session)
    last, running = overview.last_calibrations(ids), overview.running_jobs(ids)
    queues = ChipQueueRepository(session).of(ids)
    offline = {chip.id for chip in shown if chip.health == ChipState.OFFLINE}
    scores = FingerprintRepository(session).last_scores(ids, PROBES_SHOWN)
    names = {chip.id: chip.name for chip in found}
    now_running = {id: any_job_row(job, names[id], kinds, now) for id, job in running.items()}

    def row_of(chip: Chip) -> ChipRow:
        id = chip.id
        row = _chip_row(chip, last.get(id), queues.get(id, ChipQueue()).depth, now_running.get(id))
        row = row._replace(probes=sparkline(scores.get(id, ())))
        return _as_offline(row) if id in offline else row

    rows, unreadable = {}, dict(overview.chip_names(chips.unreadable))
    for chip in found:
        with going_on() as outcome:
            rows[chip.id] = row_of(chip)
        if outcome.error is not None:
            event = "pages: the row of a chip is damaged, it is shown as unreadable"
            warn_in_a_line(__name__, event, outcome.error, chip_id=chip.id)
            unreadable[chip.id] = chip.name
    rows |= {id: _unreadable_chip(id, name) for id, name in unreadable.items()}
    return [rows[chip.id] for chip in shown if chip.id in rows]


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
