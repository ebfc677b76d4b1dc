"""Policies: when each chip is probed and calibrated, and which chips are due."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Select, and_, delete, func, select, text, update
from sqlalchemy.orm import Session

from service.damage_errors import PolicyDamagedError
from service.db.agent_tables import Agent
from service.db.isolation import isolated, readable_rows
from service.db.repositories.agents import reachable
from service.db.repositories.due_times import (
    CALIBRATE,
    PROBE,
    VersionLife,
    count_job,
    next_calibration,
    next_expiry,
    next_probe,
    set_due_at,
)
from service.db.repositories.versions import in_force
from service.db.tables import OPEN_JOBS, OPEN_SERVICE_JOBS, Chip, Job, WeightVersion
from service.db.upkeep_tables import Fingerprint, Policy
from service.errors import PolicyNotFoundError
from service.states import JobStatus

_PLANNED = (PROBE, CALIBRATE)
_DUE_BATCH = 200  # how many due chips are read at a time
NOT_PLANNED = (
    "Nothing was planned for this chip because of an error, which the log of the service shows; "
    "it is looked at again in an hour."
)
UNREADABLE = "The policy cannot be read: it holds a value that no policy may have; set it again."
_JOB_ENDED = "policies: a policy cannot be read, its chip's last job does not count for it"


class DueChips(NamedTuple):
    """Ids of chips whose policy is due, split by whether a job could drive them now."""

    drivable: Sequence[str]
    blocked: Sequence[str]  # retired, offline, or with a probe or a calibration that is open


class PolicyRepository:
    """Stores policies and finds the chips that are due."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def get(self, chip_id: str) -> Policy:
        """Return the policy of a chip. Raises PolicyNotFoundError and PolicyDamagedError."""
        query = select(Policy).where(Policy.chip_id == chip_id)
        query = query.execution_options(populate_existing=True)
        found = readable_rows(self._session, query, Policy.chip_id)
        if found.unreadable:
            raise PolicyDamagedError(chip_id)
        if not found.rows:
            raise PolicyNotFoundError(chip_id)
        policy: Policy = found.rows[0].Policy
        return policy

    def put(self, chip_id: str, rules: Mapping[str, Any], now: datetime) -> Policy:
        """Set the rules of a chip. Its history counts, so it may be due at once."""
        policy = self._readable(chip_id) or self._new(chip_id, now)
        for name, value in rules.items():
            setattr(policy, name, value)
        policy.updated_at, policy.note, policy.calibrate_due_at = now, None, None
        policy.probe_due_at = next_probe(policy, self._last_probe(chip_id), now)
        policy.calibrate_due_at = next_calibration(policy, self._score(chip_id), now)
        policy.expiry_due_at = next_expiry(policy, self.version_life(chip_id), now)
        set_due_at(policy)
        self._session.add(policy)
        self._session.flush()
        return policy

    def delete(self, chip_id: str) -> None:
        """Delete the policy of a chip. Raises PolicyNotFoundError."""
        gone = delete(Policy).where(Policy.chip_id == chip_id).returning(Policy.chip_id)
        if self._session.scalar(gone) is None:
            raise PolicyNotFoundError(chip_id)

    def any_due(self, now: datetime) -> bool:
        """Return whether any chip is due."""
        query = select(Policy.chip_id).where(Policy.due_at <= now).limit(1)
        return self._session.scalar(query) is not None

    def due_chips(self, now: datetime) -> DueChips:
        """Return the chips that have been due for longest, a limited number of them."""
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

    def claim(self, chips: Sequence[str], limit: int) -> list[str]:
        """Lock up to `limit` policies of these chips until this unit ends, longest due first.

        Returns the chips. Policies that another planner has locked are left out.
        """
        query = select(Policy.chip_id).where(Policy.chip_id.in_(chips)).order_by(Policy.due_at)
        query = query.limit(limit).with_for_update(skip_locked=True)
        return list(self._session.scalars(query))

    def put_off(self, chips: Sequence[str], until: datetime) -> None:
        """Make chips due at `until` that cannot be driven now, so that others come first."""
        free = select(Policy.chip_id).where(Policy.chip_id.in_(chips))
        found = self._session.scalars(free.with_for_update(skip_locked=True)).all()
        self._session.execute(
            update(Policy)
            .where(Policy.chip_id.in_(found))
            .values(due_at=until)
            .execution_options(synchronize_session=False)
        )

    def hold(self, chip_id: str, note: str, until: datetime) -> None:
        """Note why nothing was planned for a chip, and make it due again at `until`."""
        self._session.execute(
            update(Policy)
            .where(Policy.chip_id == chip_id)
            .values(note=note, due_at=until)
            .execution_options(synchronize_session=False)
        )

    def in_flight(self) -> int:
        """Count the planned jobs that have not ended; they belong to no API key."""
        query = select(func.count()).where(text(OPEN_SERVICE_JOBS), Job.kind.in_(_PLANNED))
        return self._session.scalar(query) or 0

    def after_job(self, job: Job, now: datetime) -> None:
        """Update when a chip is due, after one of its jobs has ended, whatever its policy holds."""
        with isolated(self._session, _JOB_ENDED, chip_id=str(job.chip_id)):
            self._after_job(job, now)
            self._session.flush()

    def _after_job(self, job: Job, now: datetime) -> None:
        policy = self._session.get(
            Policy, job.chip_id, populate_existing=True, with_for_update=True
        )
        if policy is None:
            return
        count_job(policy, job.kind, now)
        if job.status == JobStatus.SUCCEEDED and job.kind in _PLANNED:
            policy.note = None
            policy.probe_due_at = next_probe(policy, now, now)
        if job.status == JobStatus.SUCCEEDED:  # else the time that the planner set counts
            life = self.version_life(policy.chip_id)
            policy.expiry_due_at = next_expiry(policy, life, now)
        policy.calibrate_due_at = next_calibration(policy, self._score(policy.chip_id), now)
        set_due_at(policy)

    def version_life(self, chip_id: str) -> VersionLife | None:
        """Return what is known of the weights in force on a chip; None where none are."""
        query = select(
            WeightVersion.created_at, WeightVersion.job_id, Chip.validity, Chip.valid_until
        )
        found = self._session.execute(
            query.select_from(Chip).join(WeightVersion, in_force()).where(Chip.id == chip_id)
        ).one_or_none()
        if found is None:
            return None
        probed = select(func.max(Fingerprint.created_at)).where(
            Fingerprint.chip_id == chip_id,
            Fingerprint.created_at >= found.created_at,
            Fingerprint.job_id != found.job_id,
        )
        return VersionLife(
            published_at=found.created_at,
            probed_at=self._session.scalar(probed),
            has_validity=found.validity is not None,
            valid_until=found.valid_until,
        )

    def stop_for(self, chip_id: str) -> None:
        """Disable the policy of a chip that is retired."""
        self._session.execute(
            update(Policy).where(Policy.chip_id == chip_id).values(enabled=False, due_at=None)
        )

    def _readable(self, chip_id: str) -> Policy | None:
        """Lock and return a policy that is to be replaced; delete one that cannot be read."""
        query = select(Policy).where(Policy.chip_id == chip_id).with_for_update()
        found = readable_rows(self._session, query, Policy.chip_id)
        if found.unreadable:
            self.delete(chip_id)
        return found.rows[0].Policy if found.rows else None

    def _new(self, chip_id: str, now: datetime) -> Policy:
        calibrated = select(func.max(Job.ended_at)).where(
            Job.chip_id == chip_id,
            Job.kind == CALIBRATE,
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
    """Condition on a chip: not retired, not offline, no open probe or calibration."""
    busy = (  # a count, so that the database evaluates it chip by chip
        select(func.count())
        .where(text(OPEN_JOBS), Job.kind.in_(_PLANNED), Job.chip_id == Policy.chip_id)
        .correlate(Policy)
        .scalar_subquery()
    )
    return and_(Chip.retired_at.is_(None), reachable(now), busy == 0)
