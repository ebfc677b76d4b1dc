"""Golden students, the results of `train` jobs."""

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import bindparam, select, update
from sqlalchemy.exc import DataError
from sqlalchemy.orm import Session

from service.db.base import Json
from service.db.isolation import going_on
from service.db.repositories.jobs import JobRepository
from service.db.repositories.paging import PageRequest, RowPage, fetch_page
from service.db.repositories.rows import load_row
from service.db.tables import Job, Student, TargetSet, Teacher
from service.errors import StudentNotFoundError, TargetSetNotFoundError, TeacherNotFoundError


class TrainedStudent(NamedTuple):
    """The result of a training, to be published as a golden student."""

    sha256: str  # of its block
    rule: str
    reset: str  # of its neurons
    accuracy: Json  # teacher, golden


class StudentOrigins(NamedTuple):
    """A student, the teacher and the samples that it learned from, and the job that trained it."""

    student: Student
    teacher: Teacher
    target_set: TargetSet
    training: Job


_ORIGINS = "students that this unit has read with their origins"
_WITH_ORIGINS = (
    select(Student, Teacher, TargetSet, Job)
    .join(Teacher, Teacher.id == Student.teacher_id)
    .join(TargetSet, TargetSet.id == Student.target_set_id)
    .join(Job, Job.id == Student.job_id)
    .where(Student.id == bindparam("student_id"))
)


class StudentRepository:
    """Stores and reads golden students."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def with_origins(self, student_id: str) -> "StudentOrigins":
        """Return the student and what it comes from, read once in a unit of work.

        Raises StudentNotFoundError, and RowDamagedError for the row that cannot be read.
        """
        read: dict[str, StudentOrigins] = self._session.info.setdefault(_ORIGINS, {})
        if student_id not in read:
            read[student_id] = self._read_origins(student_id)
        return read[student_id]

    def _read_origins(self, student_id: str) -> StudentOrigins:
        with going_on() as outcome:
            row = self._session.execute(_WITH_ORIGINS, {"student_id": student_id}).one_or_none()
            if row is not None:
                return StudentOrigins._make(row)
        if isinstance(outcome.error, DataError):  # the id is one that no database can hold
            raise outcome.error
        return self._read_one_by_one(student_id)

    def _read_one_by_one(self, student_id: str) -> StudentOrigins:
        """Read each row by itself, so that the error says which one is missing or damaged."""
        student = self.get(student_id)
        teacher = load_row(self._session, Teacher, student.teacher_id, TeacherNotFoundError.what)
        if teacher is None:
            raise TeacherNotFoundError(student.teacher_id)
        what = TargetSetNotFoundError.what
        target_set = load_row(self._session, TargetSet, student.target_set_id, what)
        if target_set is None:
            raise TargetSetNotFoundError(student.target_set_id)
        return StudentOrigins(
            student, teacher, target_set, JobRepository(self._session).get(student.job_id)
        )

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
