"""Golden students, the results of `train` jobs."""

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from service.db.base import Json
from service.db.repositories.jobs import JobRepository
from service.db.repositories.paging import PageRequest, RowPage, fetch_page
from service.db.repositories.rows import load_row
from service.db.tables import Job, Student
from service.errors import (
    StudentNotFoundError,
)


class TrainedStudent(NamedTuple):
    """The result of a training, to be published as a golden student."""

    sha256: str  # of its block
    rule: str
    reset: str  # of its neurons
    accuracy: Json  # teacher, golden


class StudentRepository:
    """Stores and reads golden students."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def get(self, student_id: str) -> Student:
        """Return the student. Raises StudentNotFoundError."""
        student = load_row(self._session, Student, student_id, StudentNotFoundError.what)
        if student is None:
            raise StudentNotFoundError(student_id)
        return student

    def keep_loss_curve(self, student_id: str, curve: Json) -> None:
        """Store the loss curve of a student; it is the same whoever found it."""
        self._session.execute(
            update(Student).where(Student.id == student_id).values(loss_curve=curve)
        )

    def keep_golden_accuracy(self, student_id: str, found: Json) -> None:
        """Add accuracies of a student, by the samples on which they were measured."""
        kept = (self.get(student_id).golden_accuracy or {}) | found
        self._session.execute(
            update(Student).where(Student.id == student_id).values(golden_accuracy=kept)
        )

    def list(
        self, teacher_id: str | None, target_set_id: str | None, page: PageRequest
    ) -> RowPage[Student]:
        """Return one page of students."""
        query = select(Student)
        if teacher_id is not None:
            query = query.where(Student.teacher_id == teacher_id)
        if target_set_id is not None:
            query = query.where(Student.target_set_id == target_set_id)
        return fetch_page(self._session, query, Student.id, page)

    def publish(self, job_id: str, token: int, trained: TrainedStudent, now: datetime) -> Student:
        """Store the student of a `train` job, once a job; its id is that of the job.

        Raises AttemptSupersededError if a later attempt drives the job.
        """
        jobs = JobRepository(self._session)
        jobs.check_driven_by(job_id, token)
        if made := self._session.get(Student, job_id):
            return made
        job = jobs.get(job_id)
        student = Student(
            id=job_id,
            teacher_id=job.teacher_id,
            target_set_id=job.target_set_id,
            job_id=job_id,
            created_at=now,
            **trained._asdict(),
        )
        self._session.add(student)
        self._session.flush()
        self._session.execute(update(Job).where(Job.id == job_id).values(student_id=student.id))
        return student
