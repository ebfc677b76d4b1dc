"""Chip and student of a job: checks at its admission, and what its child process gets of them."""

from typing import NamedTuple

from sqlalchemy.orm import Session

from chip_sim.placement import check_network
from chip_sim.spec import info_of
from ltl_core.chip_info import info_from_json
from ltl_core.errors import CapacityError, TooManyPassesError, UnsupportedLayerError
from ltl_core.network.spec import NetworkSpec
from ltl_core.partitioned.plan import check_passes
from ltl_core.settings import Reset
from service.bench.simulated import spec_of
from service.db.repositories.chips import ChipRepository
from service.db.repositories.jobs import JobRepository
from service.db.repositories.students import StudentOrigins, StudentRepository
from service.db.repositories.weights import WeightRepository
from service.db.tables import Chip, Job, Student, Teacher
from service.errors import ChipNotCalibratedError
from service.jobs.kinds.spec import JobSubject
from service.jobs.messages import Json
from service.request_errors import FieldProblem, InvalidFieldsError
from service.schemas.jobs import ChipSubmission

# Fields of the settings `codes` of a training, and of the information of a chip.
_CODES = {
    "weight_max": "weight_code_max",
    "trim_min": "trim_code_min",
    "trim_max": "trim_code_max",
    "trim_lsb": "trim_lsb",
}


class ChipAndStudent(NamedTuple):
    """A chip that may be driven, and the student that is programmed on it."""

    chip: Chip
    student: Student
    passes: int = 1  # in which the network is placed

    def subject(self) -> JobSubject:
        """Return what the job's row names."""
        return JobSubject(
            teacher_id=self.student.teacher_id,
            target_set_id=self.student.target_set_id,
            student_id=self.student.id,
            chip_id=self.chip.id,
        )


def find_chip_and_student(session: Session, request: ChipSubmission) -> ChipAndStudent:
    """Find both, and check that the student fits the chip.

    Raises NotFoundError, ChipRetiredError, ChipNotCalibratedError, InvalidFieldsError,
    CapacityError and UnsupportedLayerError.
    """
    chip = ChipRepository(session).get_usable(request.chip_id)
    origins = StudentRepository(session).with_origins(_student_id(session, chip, request))
    passes = _passes(chip, origins.teacher, request.passes_max)
    _check_drivable(origins)
    _check_codes(chip, origins)
    return ChipAndStudent(chip, origins.student, passes)


def admit_on_chip(session: Session, request: ChipSubmission) -> JobSubject:
    """Admit a request that asks for nothing beyond a chip and a student; raises as above."""
    return find_chip_and_student(session, request).subject()


def student_in_force(session: Session, chip: Chip) -> str | None:
    """Return the id of the student whose codes are in force; None where none are."""
    if chip.version_in_force is None:
        return None
    return WeightRepository(session).get(chip.id, chip.version_in_force).student_id


def passes_in_force(session: Session, chip: Chip) -> int:
    """Return the passes that were allowed to the job that published the version in force."""
    if chip.version_in_force is None:
        return 1
    version = WeightRepository(session).get(chip.id, chip.version_in_force)
    return int(JobRepository(session).get(version.job_id).request.get("passes_max", 1))


def wrong_student(message: str) -> InvalidFieldsError:
    """Make the error for a student that does not do."""
    return InvalidFieldsError(FieldProblem("/student_id", message))


def student_inputs(session: Session, job: Job) -> Json:
    """Describe the job's student, with its codes that were in force when the job started."""
    student = StudentRepository(session).get(str(job.student_id))
    return {
        "student_sha256": student.sha256,
        "accuracy": student.accuracy,
        "in_force_sha256": _in_force(session, job),
    }


def _student_id(session: Session, chip: Chip, request: ChipSubmission) -> str:
    """Return the student that was named, else the one in force."""
    named: str | None = getattr(request, "student_id", None)
    found = named or student_in_force(session, chip)
    if found is not None:
        return found
    if "student_id" in type(request).model_fields:
        raise wrong_student("the chip has no weights in force: name a student")
    raise ChipNotCalibratedError(chip.id)


def _passes(chip: Chip, teacher: Teacher, allowed: int) -> int:
    """Return the passes in which the network is placed: more than one only if that is allowed.

    Refuse a network that a simulated chip cannot hold. Others are asked when it is placed, but
    passes are planned by what they say of themselves.
    """
    network = NetworkSpec.model_validate(teacher.network)
    if chip.backend != "simulated":
        known = allowed > 1 and chip.info
        return check_passes(network, info_from_json(chip.info), allowed) if known else 1
    spec = spec_of(chip.settings)
    try:
        check_network(network, spec)
    except CapacityError as too_large:
        try:
            return check_passes(network, info_of(spec, chip.id), allowed)
        except TooManyPassesError:
            raise
        except (CapacityError, UnsupportedLayerError) as error:
            raise (error if allowed > 1 else too_large) from None
    return 1


def _check_drivable(origins: StudentOrigins) -> None:
    """Refuse a student that needs frames, or neurons that no chip has."""
    if (origins.target_set.summary or {}).get("frames"):
        raise wrong_student("it learned from sequences of frames; chips are shown still inputs")
    if origins.student.reset != Reset.ZERO:
        raise wrong_student("its spikes subtract the threshold; chips reset to zero")


def _check_codes(chip: Chip, origins: StudentOrigins) -> None:
    """Refuse a student in other codes than the chip takes.

    A chip that has not told its codes yet is asked when the student is placed on it.
    """
    trained = origins.training.request.get("settings") or {}
    codes = trained.get("codes") or {}
    other = [
        f"{ours} {codes[ours]} where the chip's is {chip.info[theirs]}"
        for ours, theirs in _CODES.items()
        if ours in codes and theirs in chip.info and codes[ours] != chip.info[theirs]
    ]
    if other:
        message = f"it is in other codes than the chip takes ({', '.join(other)})"
        raise wrong_student(f"{message}: train a student with the chip's `codes`")


def _in_force(session: Session, job: Job) -> str | None:
    """Return the chip's codes, unless they belong to another student."""
    if job.chip_id is None or job.weights_in_force is None:
        return None
    version = WeightRepository(session).get(job.chip_id, job.weights_in_force)
    return version.sha256 if version.student_id == job.student_id else None
