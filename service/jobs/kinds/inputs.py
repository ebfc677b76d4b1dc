"""Inputs of jobs with a chip: the student that is programmed on it."""

from sqlalchemy.orm import Session

from service.db.repositories.students import StudentRepository
from service.db.repositories.weights import WeightRepository
from service.db.tables import Job
from service.jobs.messages import Json


def student_inputs(session: Session, job: Job) -> Json:
    """Describe the job's student, with its codes that were in force when the job started."""
    student = StudentRepository(session).get(str(job.student_id))
    return {
        "student_sha256": student.sha256,
        "accuracy": student.accuracy,
        "in_force_sha256": _in_force(session, job),
    }


def _in_force(session: Session, job: Job) -> str | None:
    """Return the chip's codes, unless they belong to another student."""
    if job.chip_id is None or job.weights_in_force is None:
        return None
    version = WeightRepository(session).get(job.chip_id, job.weights_in_force)
    return version.sha256 if version.student_id == job.student_id else None
