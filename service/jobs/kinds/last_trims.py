"""The last trims of a calibration, once the chip has aged: a calibration of its own, that follows.

Drift is fastest after a write: conductance falls by as much from the first minute to the first day
as in the months after it. Trims that are learned after a day fit what the chip is from then on.
"""

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy.orm import Session

from ltl_core.settings import Budget, CalibrationSettings, StageName
from service.db.repositories.jobs import JobRepository
from service.db.tables import Job
from service.jobs.messages import Ended, Json
from service.request_errors import FieldProblem, InvalidFieldsError
from service.states import JobStatus

if TYPE_CHECKING:
    from service.jobs.kinds.chip_session import JobChipSession

LEAST_AGE, MOST_AGE = 3600.0, 604_800.0  # s, from an hour to a week
TOO_YOUNG = "too_young_s"  # of a result: the job waits so long, and comes again
WAITS = "last_trims_wait_s"  # of a result: wall time until the chip is old enough for them
_PRESENTED = 400  # samples
_TOLERANCE = 0.01  # fraction of the age that may be missing


class AwaitedAge(NamedTuple):
    """The age that a chip has to reach before its last trims, and since when."""

    age_s: float  # on the chip's clock
    since_s: float  # the chip's clock when the version was published
    is_in_force: bool  # whether that version still is

    @property
    def until_s(self) -> float:
        """The chip's clock at which it is old enough."""
        return self.since_s + self.age_s * (1 - _TOLERANCE)


def last_trims_settings(settings: CalibrationSettings) -> CalibrationSettings:
    """Return the settings of the last trims, from those of the calibration before."""
    given = settings.budget
    presented = _PRESENTED if given.samples is None else min(_PRESENTED, given.samples)
    return settings.model_copy(
        update={
            "stages": (StageName.TRIMS,),
            "budget": Budget(samples=presented, distinct=given.distinct, seconds=given.seconds),
            "target_points": None,  # an aged chip near its target has the same way to go
        }
    )


def check_followed(session: Session, job_id: str, chip_id: str, student_id: str) -> None:
    """Check that a job published weights of this student for this chip.

    Raises JobNotFoundError and InvalidFieldsError.
    """
    job = JobRepository(session).get(job_id)
    published = (job.result or {}).get("weights_version")
    if (job.chip_id, job.student_id) != (chip_id, student_id) or published is None:
        message = "this job published no weights of this student for this chip"
        raise InvalidFieldsError(FieldProblem("/follows", message))


def age_input(session: Session, job: Job) -> Json:
    """Describe the age that the chip of a job with `follows` has to reach."""
    first = JobRepository(session).get(job.request["follows"])
    result = first.result or {}
    age = AwaitedAge(
        age_s=float(first.request.get("last_trims_after_s") or 0.0),
        since_s=float(result["chip_time_s"]),
        is_in_force=job.weights_in_force == result["weights_version"],
    )
    return {"awaited_age": age._asdict()}


def not_before(now: datetime, wait_s: float) -> datetime | None:
    """Return when a job may start that waits for so many seconds; None if at once."""
    return now + timedelta(seconds=wait_s) if wait_s > 0 else None


def wait_for_age(chip: "JobChipSession") -> Ended | None:
    """Let the chip reach the awaited age; return how the job ends if that cannot be now.

    A chip in software ages at once; for any other the job ends and comes again. None if there is
    nothing to wait for.
    """
    found = chip.context.description.extra.get("awaited_age")
    if found is None:
        return None
    awaited = AwaitedAge(**found)
    if not awaited.is_in_force:
        reason = "another version came into force while the chip aged; its trims were left alone"
        return Ended(status=JobStatus.CANCELLED, reason=reason)
    missing = awaited.until_s - chip.backend.now()
    if missing <= 0:
        return None
    if chip.is_in_software:
        chip.backend.settle(missing)
        return None
    return Ended(status=JobStatus.SUCCEEDED, result={TOO_YOUNG: missing})
