"""The memory that jobs are estimated to need, from their requests and the rows these name."""

from typing import Any

from sqlalchemy.orm import Session

from ltl_core.memory import (
    calibration_bytes,
    collecting_bytes,
    given_bytes,
    measuring_bytes,
    training_bytes,
)
from ltl_core.network.spec import NetworkSpec
from ltl_core.settings import NeuronSettings
from service.db.repositories.chips import ChipRepository
from service.db.repositories.jobs import JobRepository
from service.db.repositories.students import StudentRepository
from service.db.repositories.target_sets import TargetSetRepository
from service.db.repositories.teachers import TeacherRepository
from service.db.repositories.weights import WeightRepository
from service.db.tables import Student, TargetSet
from service.states import Split


def training_memory(session: Session, request: Any) -> int:
    """Estimate a training, from its target set and settings."""
    target_set = TargetSetRepository(session).get(request.target_set_id)
    frames = (target_set.summary or {}).get("frames")
    network = _network(session, target_set.teacher_id)
    return training_bytes(network, request.settings, _samples(target_set), frames)


def collecting_memory(session: Session, request: Any) -> int:
    """Estimate a collection, from the chunks of its target set."""
    sets = TargetSetRepository(session)
    samples = sum(chunk.samples for chunk in sets.chunks(request.target_set_id))
    teacher = TeacherRepository(session).get(sets.get(request.target_set_id).teacher_id)
    estimate = given_bytes if teacher.weights_sha256 is None else collecting_bytes
    return estimate(NetworkSpec.model_validate(teacher.network), samples)


def calibration_memory(session: Session, request: Any) -> int:
    """Estimate a calibration, from its student and settings."""
    student = StudentRepository(session).get(request.student_id)
    network, target_set = _of_student(session, student)
    steps = _steps(session, student)
    return calibration_bytes(network, request.settings, steps, _samples(target_set))


def measuring_memory(session: Session, request: Any) -> int:
    """Estimate a job that only measures a chip, from its student."""
    student = _named_student(session, request)
    if student is None:
        return 0
    network, target_set = _of_student(session, student)
    return measuring_bytes(network, _steps(session, student), _samples(target_set))


def _named_student(session: Session, request: Any) -> Student | None:
    """Return the student of the request, else the one in force on its chip."""
    named: str | None = getattr(request, "student_id", None)
    if named is None:
        chip = ChipRepository(session).get(request.chip_id)
        version = WeightRepository(session).in_force(chip.id)
        named = None if version is None else version.student_id
    return None if named is None else StudentRepository(session).get(named)


def _of_student(session: Session, student: Student) -> tuple[NetworkSpec, TargetSet]:
    target_set = TargetSetRepository(session).get(student.target_set_id)
    return _network(session, student.teacher_id), target_set


def _network(session: Session, teacher_id: str) -> NetworkSpec:
    return NetworkSpec.model_validate(TeacherRepository(session).get(teacher_id).network)


def _steps(session: Session, student: Student) -> int:
    """Return the steps of the student's window, as its training was asked for."""
    settings = JobRepository(session).get(student.job_id).request.get("settings") or {}
    return int((settings.get("neuron") or {}).get("steps", NeuronSettings().steps))


def _samples(target_set: TargetSet) -> int:
    """Count the samples of both splits; 0 where the set does not say."""
    counts = (target_set.summary or {}).get("samples") or {}
    return sum(int(counts.get(split, 0)) for split in Split)
