"""Policies: when each chip is to be probed and calibrated, and which of them are due."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Select, and_, func, select, text, update
from sqlalchemy.orm import Session

from service.db.agent_tables import Agent
from service.db.repositories.agents import reachable
from service.db.tables import OPEN_JOBS, OPEN_SERVICE_JOBS, Chip, Job
from service.db.upkeep_tables import Fingerprint, Policy
from service.errors import PolicyNotFoundError
from service.states import JobKind, JobStatus

_PLANNED = (JobKind.PROBE, JobKind.CALIBRATE)
_DUE_BATCH = 200  # due chips that are looked at together


class DueChips(NamedTuple):
    """Ids of chips whose policy is due, split by whether a job could drive them now."""

    drivable: Sequence[str]
    blocked: Sequence[str]  # retired, offline, or with a probe or a calibration that is open


class PolicyRepository:
    def __init__(self, session: Session) -> None:
        self._session = session

    def get(self, chip_id: str) -> Policy:
        """Raises PolicyNotFoundError."""
        policy = self._session.get(Policy, chip_id, populate_existing=True)
        if policy is None:
            raise PolicyNotFoundError(chip_id)
        return policy

    def put(self, chip_id: str, rules: Mapping[str, Any], now: datetime) -> Policy:
        """New rules, under which the chip's past counts: it may be due at once."""
        policy = self._session.get(Policy, chip_id, with_for_update=True) or self._new(chip_id, now)
        for name, value in rules.items():
            setattr(policy, name, value)
        policy.updated_at, policy.note, policy.calibrate_due_at = now, None, None
        policy.probe_due_at = next_probe(policy, self._last_probe(chip_id), now)
        policy.calibrate_due_at = next_calibration(policy, self._score(chip_id), now)
        settle(policy)
        self._session.add(policy)
        self._session.flush()
        return policy

    def delete(self, chip_id: str) -> None:
        """Raises PolicyNotFoundError."""
        self._session.delete(self.get(chip_id))
        self._session.flush()

    def any_due(self, now: datetime) -> bool:
        """Is it worth looking?"""
        query = select(Policy.chip_id).where(Policy.due_at <= now).limit(1)
        return self._session.scalar(query) is not None

    def due_chips(self, now: datetime) -> DueChips:
        """Those that are due for longest; of the many that may be due only the first."""
        query = (
            select(Policy.chip_id, _may_be_driven(now))
            .join(Chip, Chip.id == Policy.chip_id)
            .outerjoin(Agent, Agent.chip_id == Chip.id)
            .where(Policy.chip_id.in_(_first_due(now)))
        )
        found = self._session.execute(query).all()
        return DueChips(
            [chip for chip, can in found if can], [chip for chip, can in found if not can]
        )

    def claim(self, chips: Sequence[str], limit: int) -> list[Policy]:
        """Of these, due for longest; nobody else plans for them before this unit ends."""
        query = select(Policy).where(Policy.chip_id.in_(chips)).order_by(Policy.due_at)
        query = query.limit(limit).with_for_update(skip_locked=True)
        return list(self._session.scalars(query))

    def put_off(self, chips: Sequence[str], until: datetime) -> None:
        """Due chips that cannot be driven are looked at again later, and hold up nobody."""
        free = select(Policy.chip_id).where(Policy.chip_id.in_(chips))
        found = self._session.scalars(free.with_for_update(skip_locked=True)).all()
        self._session.execute(
            update(Policy)
            .where(Policy.chip_id.in_(found))
            .values(due_at=until)
            .execution_options(synchronize_session=False)
        )

    def in_flight(self) -> int:
        """Planned jobs that have not ended: nobody's key stands behind them."""
        query = select(func.count()).where(text(OPEN_SERVICE_JOBS), Job.kind.in_(_PLANNED))
        return self._session.scalar(query) or 0

    def after_job(self, job: Job, now: datetime) -> None:
        """What the end of a job means for when its chip is due."""
        policy = self._session.get(
            Policy, job.chip_id, populate_existing=True, with_for_update=True
        )
        if policy is None:
            return
        counted(policy, JobKind(job.kind), now)
        if job.status == JobStatus.SUCCEEDED and job.kind in _PLANNED:
            policy.note = None
            policy.probe_due_at = next_probe(policy, now, now)
        policy.calibrate_due_at = next_calibration(policy, self._score(policy.chip_id), now)
        settle(policy)

    def stop_for(self, chip_id: str) -> None:
        """A retired chip is due no more."""
        self._session.execute(
            update(Policy).where(Policy.chip_id == chip_id).values(enabled=False, due_at=None)
        )

    def _new(self, chip_id: str, now: datetime) -> Policy:
        calibrated = select(func.max(Job.ended_at)).where(
            Job.chip_id == chip_id,
            Job.kind == JobKind.CALIBRATE,
            Job.status == JobStatus.SUCCEEDED,
        )
        at = self._session.scalar(calibrated)
        return Policy(chip_id=chip_id, jobs=0, calibrated_at=at, created_at=now)

    def _last_probe(self, chip_id: str) -> datetime | None:
        query = select(func.max(Fingerprint.created_at)).where(Fingerprint.chip_id == chip_id)
        return self._session.scalar(query)

    def _score(self, chip_id: str) -> float | None:
        return self._session.scalar(select(Chip.drift_score).where(Chip.id == chip_id))


def _first_due(now: datetime) -> Select[Any]:
    first = select(Policy.chip_id).where(Policy.due_at <= now).order_by(Policy.due_at)
    return first.limit(_DUE_BATCH)


def _may_be_driven(now: datetime) -> ColumnElement[bool]:
    """A chip, joined with its agent: not retired, not offline, nothing of the kind is open."""
    busy = (  # counted, so that it is asked chip by chip
        select(func.count())
        .where(text(OPEN_JOBS), Job.kind.in_(_PLANNED), Job.chip_id == Policy.chip_id)
        .correlate(Policy)
        .scalar_subquery()
    )
    return and_(Chip.retired_at.is_(None), reachable(now), busy == 0)


def counted(policy: Policy, kind: JobKind, now: datetime) -> None:
    """A calibration ends the count, whatever came of it; probes use nothing up."""
    if kind == JobKind.CALIBRATE:
        policy.jobs, policy.calibrated_at = 0, now
        policy.calibrate_due_at = None
    elif kind != JobKind.PROBE:
        policy.jobs += 1


def next_probe(policy: Policy, last: datetime | None, now: datetime) -> datetime | None:
    """So long after the last one; at once where there was none."""
    if policy.probe_every_s is None:
        return None
    return now if last is None else last + timedelta(seconds=policy.probe_every_s)


def next_calibration(policy: Policy, score: float | None, now: datetime) -> datetime | None:
    """The first of what the rules ask for, but never sooner than the pause after the last one."""
    reasons = list(_reasons(policy, score, now))
    if not reasons:
        return None
    first = min(reasons)
    if policy.calibrated_at is not None:
        first = max(first, policy.calibrated_at + timedelta(seconds=policy.pause_s))
    return first if policy.calibrate_due_at is None else min(first, policy.calibrate_due_at)


def settle(policy: Policy) -> None:
    """The one time that the planner asks for."""
    times = [at for at in (policy.probe_due_at, policy.calibrate_due_at) if at is not None]
    policy.due_at = min(times) if times and policy.enabled else None


def _reasons(policy: Policy, score: float | None, now: datetime) -> Iterable[datetime]:
    if policy.calibrate_every_s is not None:
        age = timedelta(seconds=policy.calibrate_every_s)
        yield now if policy.calibrated_at is None else policy.calibrated_at + age
    at_score, after_jobs = policy.calibrate_at_score, policy.calibrate_after_jobs
    if at_score is not None and score is not None and score >= at_score:
        yield now
    if after_jobs is not None and policy.jobs >= after_jobs:
        yield now
