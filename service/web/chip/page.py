"""Data of the chip page: what happened to a chip, and whether it can be trusted."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple, TypeVar

import structlog
from sqlalchemy.orm import Session

from service.api.upkeep import policy_or_none
from service.db.isolation import going_on
from service.db.repositories.agents import AgentRepository
from service.db.repositories.chip_history import (
    ChipHistoryRepository,
    JobCost,
    student_names,
)
from service.db.repositories.chip_queues import ChipQueue, ChipQueueRepository
from service.db.repositories.chips import ChipRepository
from service.db.repositories.job_conditions import JobFilter
from service.db.repositories.jobs import JobRepository
from service.db.repositories.overview import OverviewRepository
from service.db.repositories.paging import PageRequest
from service.db.repositories.weights import WeightRepository
from service.db.tables import Chip, WeightVersion
from service.errors import ChipNotFoundError
from service.formatting import amount, loss_text, percent, score_text
from service.jobs.kinds.registry import JobKinds
from service.logs import warn_in_a_line
from service.states import ChipHealth, ChipState
from service.web.chip import policy as chip_policy
from service.web.chip.history import History, HistoryRow, history_rows, read_history
from service.web.chip.history_plot import HistoryPlot, draw_history
from service.web.chip.layers import LayerPlot, draw_layers
from service.web.chip.version import VersionFacts, version_facts
from service.web.chip.weight_map import WeightPicture, draw_weights
from service.web.job.rows import JobRow, any_job_row, job_rows

Found = TypeVar("Found")
_log = structlog.get_logger(__name__)
WIDE, NARROW = 880, 352  # px, of the plots on a screen and on a phone
_JOBS_SHOWN, COSTS_READ = 25, 500


class Wear(NamedTuple):
    """What the jobs of a chip have written, beside what its cells survive."""

    jobs: int
    pulses: float
    writes: float  # a cell, mean
    endurance: int | None
    share: float | None  # of the endurance that is used up
    is_whole: bool  # whether all jobs were counted


class PolicyPart(NamedTuple):
    """The policy as the page shows it."""

    enabled: bool
    sentences: tuple[str, ...]
    due: tuple[tuple[str, datetime], ...]
    note: str | None


class ChipPage(NamedTuple):
    """All data of the chip page; a part that cannot be read is None and in `unreadable`."""

    id: str
    name: str
    health: str
    state: str
    sentence: str
    model: str
    is_damaged: bool
    is_retired: bool
    retired_at: datetime | None
    silence: str | None  # why the chip is offline
    facts: tuple[tuple[str, str], ...]
    running: JobRow | None
    waiting: int
    version: VersionFacts | None
    plots: tuple[HistoryPlot, ...]  # the wide one, and the narrow one
    history: tuple[HistoryRow, ...]
    is_cut: bool  # whether there is more than the plot shows
    layers: tuple[LayerPlot, ...]
    weights: WeightPicture | None
    wear: Wear | None
    policy: PolicyPart | None
    jobs: tuple[JobRow, ...]
    jobs_cursor: str | None
    unreadable: tuple[str, ...]


def read_chip(
    session: Session, chip_id: str, cursor: str | None, kinds: JobKinds, now: datetime
) -> ChipPage:
    """Read the data of the chip page. Raises ChipNotFoundError and ForeignCursorError."""
    found = ChipRepository(session).some([chip_id])
    jobs = JobRepository(session).list(JobFilter(chip_id=chip_id), PageRequest(_JOBS_SHOWN, cursor))
    rows = job_rows(session, jobs, kinds, now)
    if found.unreadable:
        _log.warning("pages: the row of a chip is damaged, its page says so", chip_id=chip_id)
        name = OverviewRepository(session).chip_names([chip_id]).get(chip_id, chip_id)
        return _damaged(chip_id, name)._replace(jobs=rows, jobs_cursor=jobs.next_cursor)
    if not found.rows:
        raise ChipNotFoundError(chip_id)
    chip: Chip = found.rows[0][0]
    page = _Reader(session, chip, kinds, now).page()
    return page._replace(jobs=rows, jobs_cursor=jobs.next_cursor)


class _Reader:
    """Reads the parts of a page, each for itself: one that is damaged hides no other one."""

    def __init__(self, session: Session, chip: Chip, kinds: JobKinds, now: datetime) -> None:
        self._session, self._chip, self._kinds, self._now = session, chip, kinds, now
        self._past = ChipHistoryRepository(session, chip.id)
        self._unreadable = list[str]()

    def page(self) -> ChipPage:
        chip, session = self._chip, self._session
        version = self._part(
            "version in force", lambda: WeightRepository(session).in_force(chip.id)
        )
        history = self._part("history", lambda: read_history(session, chip.id, version))
        queue = ChipQueueRepository(session).of([chip.id]).get(chip.id, ChipQueue())
        silence = AgentRepository(session).why_silent(chip.id, self._now)
        page = _damaged(chip.id, chip.name)._replace(
            is_damaged=False,
            is_retired=chip.retired_at is not None,
            retired_at=chip.retired_at,
            silence=None if chip.retired_at else silence,
            running=self._running(),
            waiting=queue.depth,
            # The last health of a chip that cannot be reached says nothing of now.
            health=chip.health if chip.retired_at or silence is None else ChipState.OFFLINE,
            model=self._part("model", lambda: model_of(chip)) or "",
            facts=self._part("figures", lambda: _facts(chip)) or (),
            version=self._version(version),
            plots=(history and self._part("history", lambda: self._plots(history))) or (),
            history=history_rows(history) if history else (),
            is_cut=history is not None and history.is_cut,
            layers=self._part("layers", self._layers) or (),
            weights=self._part("weight map", self._weights),
            wear=self._part("wear", self._wear),
            policy=self._part("policy", self._policy),
        )
        state = _state(page, queue)
        page = page._replace(state=state, unreadable=tuple(dict.fromkeys(self._unreadable)))
        return page._replace(sentence=_sentence(page, chip))

    def _part(self, name: str, read: Callable[[], Found]) -> Found | None:
        with going_on() as outcome:
            return read()
        self._unreadable.append(name)
        if outcome.error is not None:
            event = "pages: a part of a chip's page cannot be read, it is left out"
            warn_in_a_line(__name__, event, outcome.error, chip_id=self._chip.id, part=name)
        return None

    def _running(self) -> JobRow | None:
        jobs = OverviewRepository(self._session).running_jobs([self._chip.id])
        job = jobs.get(self._chip.id)
        return None if job is None else any_job_row(job, self._chip.name, self._kinds, self._now)

    def _version(self, version: WeightVersion | None) -> VersionFacts | None:
        if version is None:
            return None
        student = student_names(self._session, [version.student_id]).get(version.student_id)
        return self._part("version in force", lambda: version_facts(version, self._chip, student))

    def _plots(self, history: History) -> tuple[HistoryPlot, ...]:
        drawn = (draw_history(history, self._now, width) for width in (WIDE, NARROW))
        return tuple(plot for plot in drawn if plot is not None)

    def _layers(self) -> tuple[LayerPlot, ...]:
        last = OverviewRepository(self._session).last_calibrations([self._chip.id])
        if (found := last.get(self._chip.id)) is None:
            return ()
        drawn = (draw_layers(found.job_id, found.result, width) for width in (WIDE, NARROW))
        return tuple(plot for plot in drawn if plot is not None)

    def _weights(self) -> WeightPicture | None:
        found = self._past.weight_map()
        return None if found is None else draw_weights(found)

    def _wear(self) -> Wear:
        return wear_of(self._past.costs(COSTS_READ), self._chip.info.get("endurance_writes"))

    def _policy(self) -> PolicyPart | None:
        policy = policy_or_none(self._session, self._chip.id)
        if policy is None:
            return None
        due = {
            "Next probe": policy.probe_due_at,
            "Next calibration": policy.calibrate_due_at,
            "Before the validity ends": policy.expiry_due_at,
        }
        return PolicyPart(
            policy.enabled,
            chip_policy.sentences(policy),
            tuple((name, at) for name, at in due.items() if at is not None),
            policy.note,
        )


def model_of(chip: Chip) -> str:
    """Return what kind of chip it is: its preset, its model, or how it is driven."""
    return str(chip.settings.get("preset") or chip.info.get("model") or chip.backend)


def wear_of(costs: Sequence[JobCost], endurance: object) -> Wear:
    """Add up what jobs have written."""
    written = [_figures(cost.spent) for cost in costs]
    writes = sum(each for _, each in written)
    known = endurance if isinstance(endurance, int) and endurance > 0 else None
    return Wear(
        jobs=len(costs),
        pulses=sum(pulses for pulses, _ in written),
        writes=writes,
        endurance=known,
        share=writes / known if known else None,
        is_whole=len(costs) < COSTS_READ,
    )


def _figures(spent: Mapping[str, Any]) -> tuple[float, float]:
    found = (spent.get(name) for name in ("pulses", "cell_writes_per_cell"))
    pulses, writes = (one if isinstance(one, int | float) else 0 for one in found)
    return pulses, writes


def _facts(chip: Chip) -> tuple[tuple[str, str], ...]:
    info = chip.info
    tile = f"{info['tile_rows']} × {info['tile_columns']}" if "tile_rows" in info else None
    facts = {
        "Model": model_of(chip),
        "Driven as": chip.backend,
        "Accuracy, as last measured": percent(chip.accuracy),
        "Drift score of the last probe": score_text(chip.drift_score),
        "Accuracy lost since publication": loss_text(chip.predicted_loss),
        "Tiles": f"{amount(info['tiles'])} of {tile} cells" if tile else None,
    }
    return tuple((name, text) for name, text in facts.items() if text is not None)


def _state(page: ChipPage, queue: ChipQueue) -> str:
    if page.is_retired:
        return ChipHealth.RETIRED
    if page.silence is not None:
        return ChipState.OFFLINE
    if page.running:
        return ChipState.RUNNING
    return ChipState.RESERVED if queue.reserved else ChipState.IDLE


def _sentence(page: ChipPage, chip: Chip) -> str:
    """Build the headline: can the chip be trusted?"""
    if page.is_retired:
        return f"{chip.name} is retired."
    if page.silence is not None:
        return f"{chip.name} is offline: {page.silence}."
    if chip.version_in_force is None:
        return f"{chip.name} has no calibrated weights."
    measured = "" if chip.accuracy is None else f", {percent(chip.accuracy)} right"
    words = {ChipHealth.UNKNOWN: "not measured"}.get(ChipHealth(chip.health), chip.health)
    return f"{chip.name} is {words}{measured}, with version {chip.version_in_force} in force."


def _damaged(chip_id: str, name: str) -> ChipPage:
    """Return the page of a chip of which nothing can be read."""
    return ChipPage(
        id=chip_id,
        name=name,
        health=ChipHealth.UNKNOWN,
        state="unreadable",
        sentence=f"The row of {name} cannot be read.",
        model="",
        is_damaged=True,
        is_retired=False,
        retired_at=None,
        silence=None,
        facts=(),
        running=None,
        waiting=0,
        version=None,
        plots=(),
        history=(),
        is_cut=False,
        layers=(),
        weights=None,
        wear=None,
        policy=None,
        jobs=(),
        jobs_cursor=None,
        unreadable=(),
    )
