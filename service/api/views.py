"""Views of rows: what the API shows of jobs, chips and target sets."""

from collections.abc import Callable, Container, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from ltl_core.settings import StageName
from service.api.context import utc_now
from service.api.one_row import one_row
from service.db.base import Base
from service.db.repositories.agents import AgentRepository
from service.db.repositories.chip_queues import ChipQueue, ChipQueueRepository
from service.db.repositories.chips import ChipRepository
from service.db.repositories.queue_estimate import QueueEstimate, QueueEstimateRepository
from service.db.repositories.target_sets import TargetSetRepository
from service.db.tables import Chip, Job, TargetSet
from service.schemas.base import View
from service.schemas.jobs import JobChange, JobView
from service.schemas.resources import ChipView, TargetSetItem, TargetSetView
from service.states import TERMINAL, WAITING, ChipState


def job_viewer(session: Session, jobs: Sequence[Job]) -> Callable[[Job], JobView]:
    """Return what builds the view of each of these jobs.

    Waiting jobs get their place in the queue and their expected start. The number of queries does
    not depend on the number of jobs.
    """
    estimates = QueueEstimateRepository(session).of(jobs, utc_now())
    return lambda job: job_view_with(job, estimates.get(job.id, QueueEstimate()))


def job_view(session: Session, job: Job) -> JobView:
    """Build the view of one job. Raises RowDamagedError."""
    with one_row("job", job.id):
        return job_viewer(session, [job])(job)


def job_view_with(job: Job, estimate: QueueEstimate) -> JobView:
    """Build the view of a job from its row and this estimate of its start alone.

    A job that waits shows why it waits now, not why it did when that was stored.
    """
    settings = job.request.get("settings", {})
    reason = estimate.reason if job.status in WAITING else job.reason
    return JobView(
        **columns_of(job, JobView) | {"weights_in_force": job.weights_id, "reason": reason},
        terminal=job.status in TERMINAL,
        settings=settings,
        **{name: settings.get(name) for name in ("rule", "observable", "seed", "budget")},
        change=_change(settings),
        version_at_start=job.weights_in_force,
        fingerprint_at_start=job.fingerprint_id,
        queue_position=estimate.position,
        expected_start=estimate.start,
    )


def _change(settings: Mapping[str, Any]) -> JobChange | None:
    """Return whether cells may be written; earlier releases stored that in place of stages."""
    stages = settings.get("stages")
    if stages is None:
        return settings.get("change")
    return JobChange.AUTO if StageName.CELLS in stages else JobChange.TRIMS


def chip_viewer(
    session: Session, chips: Sequence[Chip], now: datetime
) -> Callable[[Chip], ChipView]:
    """Return what builds the view of each of these chips: state, queue depth and running job.

    The number of queries does not depend on the number of chips.
    """
    ids = [chip.id for chip in chips]
    queues = ChipQueueRepository(session).of(ids)
    leased = ChipRepository(session).leased(ids, now)
    offline = AgentRepository(session).offline(ids, now)

    def view(chip: Chip) -> ChipView:
        queue = queues.get(chip.id, ChipQueue())
        return ChipView(
            **columns_of(chip, ChipView),
            state=_state(chip.id, leased, offline, queue),
            queue_depth=queue.depth,
            running_job_id=leased.get(chip.id),
        )

    return view


def chip_view(session: Session, chip: Chip, now: datetime) -> ChipView:
    """Build the view of one chip. Raises RowDamagedError."""
    with one_row("chip", chip.id):
        return chip_viewer(session, [chip], now)(chip)


def _state(
    chip_id: str, leased: Container[str], offline: Container[str], queue: ChipQueue
) -> ChipState:
    if chip_id in offline:
        return ChipState.OFFLINE
    if chip_id in leased:
        return ChipState.RUNNING
    return ChipState.RESERVED if queue.reserved else ChipState.IDLE


def target_set_viewer(
    session: Session, sets: Sequence[TargetSet]
) -> Callable[[TargetSet], TargetSetItem]:
    """Return what builds the item of each target set: how many chunks have arrived, not which."""
    counts = TargetSetRepository(session).count_arrived([one.id for one in sets])
    return lambda one: TargetSetItem(
        **columns_of(one, TargetSetItem), received=counts.get(one.id, 0)
    )


def target_set_view(session: Session, target_set: TargetSet) -> TargetSetView:
    """Build the view of one target set, with the chunks that are missing."""
    arrived = TargetSetRepository(session).arrived(target_set.id)
    return TargetSetView(
        **columns_of(target_set, TargetSetView),
        received=len(arrived),
        missing=[index for index in range(target_set.chunks) if index not in arrived],
    )


def columns_of(row: Base, view: type[View]) -> dict[str, Any]:
    """Return the columns of a row that the view shows under the same name."""
    columns = row.__mapper__.columns.keys()
    return {name: getattr(row, name) for name in view.model_fields if name in columns}
