"""The planner: probes and calibrations of chips that are due, which nobody has to ask for.

A plan, its job and the chip's next due time are one transaction, and its key (`recal-CHIP-SLOT`,
where the slot is the time at which it was due) is taken once: a planner that crashes half-way has
planned nothing, and two at once do not plan twice.
"""

from datetime import datetime, timedelta
from typing import NamedTuple

import structlog
from pydantic import ValidationError
from sqlalchemy.orm import Session

from ltl_core.errors import CalibrationError
from ltl_core.settings import AFTER_DRIFT, CalibrationSettings, StageName
from service.damage_errors import PolicyDamagedError
from service.db import locks
from service.db.access_tables import IdempotencyKey
from service.db.isolation import isolated
from service.db.repositories.audit import SERVICE, AuditRepository
from service.db.repositories.chips import ChipRepository
from service.db.repositories.due_times import (
    CALIBRATE,
    PROBE,
    is_probe_enough,
    later,
    set_due_at,
    times_of,
)
from service.db.repositories.idempotency import IdempotencyRepository
from service.db.repositories.policies import NOT_PLANNED, UNREADABLE, PolicyRepository
from service.db.session import Database, clock
from service.db.tables import Job
from service.db.upkeep_tables import Policy
from service.errors import ChipNotCalibratedError
from service.jobs.engine import JobEngine
from service.jobs.kinds.calibrate import CalibrateRequest
from service.jobs.kinds.chip_and_student import passes_in_force, student_in_force
from service.jobs.kinds.probe import ProbeRequest
from service.jobs.submit import Submitter

ROUTE = "planner"  # whose idempotency keys these are
_BATCH = 50  # plans in one transaction
_RETRY = 60.0  # s, at least, before what could not be planned is looked at again
_AFTER_ERROR = timedelta(hours=1)  # before a chip for which nothing could be planned comes again
_FAILED = "planner: an error, nothing is planned for a chip for an hour or until its policy is set"


class _Due(NamedTuple):
    """The kind of job that a chip is due for, and since when."""

    kind: str
    since: datetime | None

    def key(self, chip_id: str) -> str:
        """Return the idempotency key of a plan: one for each time at which a chip is due."""
        prefix = "recal" if self.kind == CALIBRATE else "probe"
        slot = 0 if self.since is None else int(self.since.timestamp() * 1000)
        return f"{prefix}-{chip_id}-{slot}"


class Planner:
    """Plans for all chips of one database; at most `in_flight` planned jobs are open at a time."""

    def __init__(
        self,
        database: Database,
        engine: JobEngine,
        in_flight: int,
        memory_limit: int | None = None,
    ) -> None:
        """`memory_limit` is what a job may have, bytes; None where it is not known here."""
        self._memory_limit = memory_limit
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
        return sum(self._plan_alone(session, chip_id, now) for chip_id in due)

    def _plan_alone(self, session: Session, chip_id: str, now: datetime) -> bool:
        """Plan for one chip; whatever stands in its policy, the other chips are planned for."""
        policies, planned = PolicyRepository(session), False
        with isolated(session, _FAILED, chip_id=chip_id) as outcome:
            planned = self._plan_one(session, policies.get(chip_id), now)
            session.flush()
        if outcome.error is not None:
            policies.hold(chip_id, _note(outcome.error), now + _AFTER_ERROR)
        return planned and not outcome.failed

    def _plan_one(self, session: Session, policy: Policy, now: datetime) -> bool:
        """Plan one job; return False where there is none: the policy's note says why."""
        if not times_of(policy).allows(now):
            _postpone(policy, now)
            return False
        due = _due(session, policy, now)
        try:
            with session.begin_nested():
                return self._queue(session, policy, due, now) is not None
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

    def _queue(self, session: Session, policy: Policy, due: _Due, now: datetime) -> Job | None:
        request = _request(session, policy, due)
        keys = IdempotencyRepository(session)
        if keys.find(due.key(policy.chip_id), ROUTE) is not None:
            return None
        job = Submitter(session, self._engine, now, memory_limit=self._memory_limit).submit(request)
        keys.add(
            IdempotencyKey(
                key=due.key(policy.chip_id),
                route=ROUTE,
                body_sha256="0" * 64,
                resource_id=job.id,
                created_at=now,
            )
        )
        about = {"by": ROUTE, "kind": job.kind, "chip_id": policy.chip_id}
        AuditRepository(session).record(SERVICE, "job.submitted", job.id, now, **about)
        policy.note = None
        return job


def _note(error: Exception) -> str:
    """Say whether the policy is at fault: it cannot be read, or holds what no policy may hold."""
    damaged = isinstance(error, PolicyDamagedError | ValidationError)
    return UNREADABLE if damaged else NOT_PLANNED


def _due(session: Session, policy: Policy, now: datetime) -> _Due:
    """Return what is due. A calibration replaces a probe: it takes a fingerprint."""
    if _is_over(policy.calibrate_due_at, now):
        return _Due(CALIBRATE, policy.calibrate_due_at)
    if not _is_over(policy.expiry_due_at, now):
        return _Due(PROBE, policy.probe_due_at)
    life = PolicyRepository(session).version_life(policy.chip_id)
    probes = life is not None and is_probe_enough(life, now)
    return _Due(PROBE if probes else CALIBRATE, policy.expiry_due_at)


def _request(session: Session, policy: Policy, due: _Due) -> CalibrateRequest | ProbeRequest:
    """Make the request that is due. Raises ChipNotCalibratedError where no student is known."""
    chip = ChipRepository(session).get(policy.chip_id)
    shared = {"chip_id": policy.chip_id, "priority": policy.priority}
    passes_max = passes_in_force(session, chip)
    if due.kind == PROBE:
        return ProbeRequest(kind="probe", **shared, passes_max=passes_max)
    in_force = student_in_force(session, chip)
    student = policy.student_id or in_force
    if student is None:
        raise ChipNotCalibratedError(policy.chip_id)
    return CalibrateRequest(
        kind="calibrate",
        student_id=student,
        settings=_settings(policy, again=student == in_force),
        **shared,
        passes_max=passes_max,
    )


def _settings(policy: Policy, *, again: bool) -> CalibrationSettings:
    """Return the settings of the policy.

    Weights of the same student that are in force have drifted: gains are tried first, then trims,
    then cells, unless the policy leaves one of these out. Circuits are not tuned anew, since that
    would begin without the gains. Policies of earlier releases name all stages that there were.
    """
    settings = CalibrationSettings.model_validate(policy.settings)
    names_all = StageName.TUNE in settings.stages and {*AFTER_DRIFT} <= {*settings.stages}
    if not again or not names_all:
        return settings
    return settings.model_copy(update={"stages": AFTER_DRIFT})


def _advance(policy: Policy, now: datetime) -> None:
    """Set the next due time; the end of the job that was planned may change it."""
    if policy.probe_every_s is not None:
        policy.probe_due_at = times_of(policy).first_from(
            later(now, max(policy.probe_every_s, _retry_after(policy)))
        )
    resumed = times_of(policy).first_from(later(now, max(policy.pause_s, _RETRY)))
    if _is_over(policy.calibrate_due_at, now):
        policy.calibrate_due_at = resumed
    if _is_over(policy.expiry_due_at, now):
        policy.expiry_due_at = resumed
    set_due_at(policy)


def _postpone(policy: Policy, now: datetime) -> None:
    """Move what is due to the first time of day that the policy leaves open."""
    first = times_of(policy).first_from(now)
    for name in ("probe_due_at", "calibrate_due_at", "expiry_due_at"):
        if _is_over(getattr(policy, name), now):
            setattr(policy, name, first)
    set_due_at(policy)


def _is_over(at: datetime | None, now: datetime) -> bool:
    return at is not None and at <= now


def _retry_after(policy: Policy) -> float:
    return _RETRY if policy.note is not None else 0.0
