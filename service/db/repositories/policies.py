"""Policies: when each chip is to be probed and calibrated, and which of them are due."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, func, select, update
from sqlalchemy.orm import Session

from service.db.repositories.agents import reachable
from service.db.tables import Chip, Job
from service.db.upkeep_tables import Fingerprint, Policy
from service.errors import PolicyNotFoundError
from service.states import ACTIVE, WAITING, JobKind, JobStatus

_OPEN = (*WAITING, *ACTIVE)
_PLANNED = (JobKind.PROBE, JobKind.CALIBRATE)
_WINDOW = 500  # due chips that are looked at together


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

    def due(self, now: datetime, limit: int) -> list[Policy]:
        """Those that are due for longest; nobody else plans for them before this unit ends.

        Left out are chips that are retired or offline, and those that wait for a probe or a
        calibration already, or have one. Of the many that may be due only the first are looked at.
        """
        query = (
            select(Policy)
            .join(Chip, Chip.id == Policy.chip_id)
            .where(Policy.chip_id.in_(_first_due(now)), _may_be_driven(now))
            .order_by(Policy.due_at)
            .limit(limit)
            .with_for_update(of=Policy, skip_locked=True)
        )
        return list(self._session.scalars(query))

    def put_off(self, now: datetime, until: datetime) -> None:
        """Due chips that cannot be driven are looked at again later, and hold up nobody."""
        hopeless = (
            select(Policy.chip_id)
            .join(Chip, Chip.id == Policy.chip_id)
            .where(Policy.chip_id.in_(_first_due(now)), ~_may_be_driven(now))
            .with_for_update(of=Policy, skip_locked=True)
        )
        chips = self._session.scalars(hopeless).all()
        if chips:
            self._session.execute(
                update(Policy)
                .where(Policy.chip_id.in_(chips))
                .values(due_at=until)
                .execution_options(synchronize_session=False)
            )

    def in_flight(self) -> int:
        """Planned jobs that have not ended: nobody's key stands behind them."""
        query = select(func.count()).where(
            Job.status.in_(_OPEN), Job.kind.in_(_PLANNED), Job.key_id.is_(None)
        )
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
    return first.limit(_WINDOW)


def _may_be_driven(now: datetime) -> ColumnElement[bool]:
    """A chip that is neither retired nor offline, and for which nothing of the kind is open."""
    busy = select(Job.chip_id).where(
        Job.status.in_(_OPEN), Job.kind.in_(_PLANNED), Job.chip_id.is_not(None)
    )
    return and_(Chip.retired_at.is_(None), reachable(now), Policy.chip_id.not_in(busy))


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
