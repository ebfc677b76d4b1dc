"""The planner: probes and calibrations of chips that are due, which nobody has to ask for.

A plan, its job and the chip's next due time are one transaction, and its key (`recal-CHIP-SLOT`,
where the slot is the time at which it was due) is taken once: a planner that crashes half-way has
planned nothing, and two at once do not plan twice.
"""

from datetime import datetime, timedelta

import structlog
from sqlalchemy.orm import Session

from ltl_core.errors import CalibrationError
from ltl_core.settings import CalibrationSettings
from service.db import locks
from service.db.access_tables import IdempotencyKey
from service.db.repositories.chips import ChipRepository
from service.db.repositories.due_times import set_due_at
from service.db.repositories.idempotency import IdempotencyRepository
from service.db.repositories.policies import PolicyRepository
from service.db.session import Database, clock
from service.db.tables import Job
from service.db.upkeep_tables import Policy
from service.errors import ChipNotCalibratedError
from service.jobs.engine import JobEngine
from service.jobs.kinds.calibrate import CalibrateRequest
from service.jobs.kinds.chip_and_student import student_in_force
from service.jobs.kinds.probe import ProbeRequest
from service.jobs.submit import Submitter

ROUTE = "planner"  # whose idempotency keys these are
_BATCH = 50  # plans in one transaction
_RETRY = 60.0  # s, at least, before what could not be planned is looked at again


class Planner:
    """Plans for all chips of one database; at most `in_flight` planned jobs are open at a time."""

    def __init__(self, database: Database, engine: JobEngine, in_flight: int) -> None:
        self._database = database
        self._engine = engine
        self._in_flight = in_flight

    def plan(self) -> int:
        """Plan for the chips that are due; return how many jobs were queued."""
        with self._database.reading() as session:
            if not PolicyRepository(session).any_due(clock(session)):
                return 0
        with self._database.writing() as session:
            if not locks.try_hold(session, locks.PLANNER):
                return 0  # somebody else is at it
            return self._plan(session, clock(session))

    def _plan(self, session: Session, now: datetime) -> int:
        policies = PolicyRepository(session)
        due_chips = policies.due_chips(now)
        if due_chips.blocked:
            policies.put_off(due_chips.blocked, now + timedelta(seconds=_RETRY))
        room = min(self._in_flight - policies.in_flight(), _BATCH)
        due = policies.claim(due_chips.drivable, room) if room > 0 else []
        return sum(self._plan_one(session, policy, now) for policy in due)

    def _plan_one(self, session: Session, policy: Policy, now: datetime) -> bool:
        """Plan one job; return False where there is none: the policy's note says why."""
        try:
            with session.begin_nested():
                return self._queue(session, policy, now) is not None
        except CalibrationError as error:
            policy.note = str(error)
            structlog.get_logger(__name__).warning(
                "planner: no job was planned, the chip stays due",
                chip_id=policy.chip_id,
                reason=policy.note,
            )
            return False
        finally:
            _advance(policy, now)

    def _queue(self, session: Session, policy: Policy, now: datetime) -> Job | None:
        request = _request(session, policy, now)
        key = slot_key(policy, now)
        keys = IdempotencyRepository(session)
        if keys.find(key, ROUTE) is not None:
            return None
        job = Submitter(session, self._engine, now).submit(request)
        keys.add(
            IdempotencyKey(
                key=key, route=ROUTE, body_sha256="0" * 64, resource_id=job.id, created_at=now
            )
        )
        policy.note = None
        return job


def slot_key(policy: Policy, now: datetime) -> str:
    """Return the idempotency key of a plan: one for each time at which a chip is due."""
    if calibration_is_due(policy, now):
        return f"recal-{policy.chip_id}-{_slot(policy.calibrate_due_at)}"
    return f"probe-{policy.chip_id}-{_slot(policy.probe_due_at)}"


def calibration_is_due(policy: Policy, now: datetime) -> bool:
    """Return whether a calibration is due. It replaces a probe: it takes a fingerprint."""
    return policy.calibrate_due_at is not None and policy.calibrate_due_at <= now


def _request(session: Session, policy: Policy, now: datetime) -> CalibrateRequest | ProbeRequest:
    """Make the request that is due. Raises ChipNotCalibratedError where no student is known."""
    if not calibration_is_due(policy, now):
        return ProbeRequest(kind="probe", chip_id=policy.chip_id, priority=policy.priority)
    return CalibrateRequest(
        kind="calibrate",
        chip_id=policy.chip_id,
        student_id=policy.student_id or _student_in_force(session, policy.chip_id),
        settings=CalibrationSettings.model_validate(policy.settings),
        priority=policy.priority,
    )


def _student_in_force(session: Session, chip_id: str) -> str:
    found = student_in_force(session, ChipRepository(session).get(chip_id))
    if found is None:
        raise ChipNotCalibratedError(chip_id)
    return found


def _advance(policy: Policy, now: datetime) -> None:
    """Set the next due time; the end of the job that was planned may change it."""
    if policy.probe_every_s is not None:
        policy.probe_due_at = now + timedelta(
            seconds=max(policy.probe_every_s, _retry_after(policy))
        )
    if calibration_is_due(policy, now):
        policy.calibrate_due_at = now + timedelta(seconds=max(policy.pause_s, _RETRY))
    set_due_at(policy)


def _retry_after(policy: Policy) -> float:
    return _RETRY if policy.note is not None else 0.0


def _slot(at: datetime | None) -> int:
    return 0 if at is None else int(at.timestamp() * 1000)
