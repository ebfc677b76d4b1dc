"""Deletion of teachers, target sets and students that nothing uses.

Jobs that have ended do not count as users: their rows stay, without the reference. The blocks that
only the deleted row named are removed by the sweep of orphan blocks.
"""

from collections.abc import Iterable
from typing import Any

from sqlalchemy import ColumnElement, Select, delete, select, text, update
from sqlalchemy.orm import InstrumentedAttribute, Session

from service.db.repositories.rows import load_row
from service.db.tables import (
    OPEN_JOBS,
    Chip,
    Job,
    Student,
    TargetChunk,
    TargetSet,
    Teacher,
    WeightVersion,
)
from service.db.upkeep_tables import Policy
from service.errors import (
    USERS_NAMED,
    InUseError,
    StudentNotFoundError,
    TargetSetNotFoundError,
    TeacherNotFoundError,
)


class DeletionRepository:
    """Deletes rows, and says what keeps them where it must not."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def lock_teacher(self, teacher_id: str) -> Teacher:
        """Return a teacher and lock it until this unit ends. Raises TeacherNotFoundError."""
        found = load_row(self._session, Teacher, teacher_id, TeacherNotFoundError.what, lock=True)
        if found is None:
            raise TeacherNotFoundError(teacher_id)
        return found

    def lock_target_set(self, target_set_id: str) -> TargetSet:
        """Return a target set and lock it likewise. Raises TargetSetNotFoundError."""
        found = load_row(
            self._session, TargetSet, target_set_id, TargetSetNotFoundError.what, lock=True
        )
        if found is None:
            raise TargetSetNotFoundError(target_set_id)
        return found

    def lock_student(self, student_id: str) -> Student:
        """Return a student and lock it likewise. Raises StudentNotFoundError."""
        found = load_row(self._session, Student, student_id, StudentNotFoundError.what, lock=True)
        if found is None:
            raise StudentNotFoundError(student_id)
        return found

    def delete_teacher(self, teacher: Teacher) -> None:
        """Delete a teacher. Raises InUseError if a target set or an open job uses it."""
        id = teacher.id
        sets = select(TargetSet.id).where(TargetSet.teacher_id == id).order_by(TargetSet.id)
        self._refuse("teacher", id, self._named("target set", sets), self._jobs(Job.teacher_id, id))
        self._forget(Job.teacher_id, id)
        self._session.delete(teacher)
        self._session.flush()

    def delete_target_set(self, target_set: TargetSet) -> None:
        """Delete a target set with its chunks.

        Raises InUseError if a student or an open job uses it.
        """
        id = target_set.id
        students = select(Student.id).where(Student.target_set_id == id).order_by(Student.id)
        users = self._named("student", students), self._jobs(Job.target_set_id, id)
        self._refuse("target set", id, *users)
        self._session.execute(delete(TargetChunk).where(TargetChunk.target_set_id == id))
        self._forget(Job.target_set_id, id)
        self._session.delete(target_set)
        self._session.flush()

    def delete_student(self, student: Student) -> None:
        """Delete a student. Raises InUseError if a chip's weights, a policy or open job uses it."""
        id = student.id
        of_student = WeightVersion.student_id == id
        versions = select(Chip.name).where(
            Chip.id.in_(select(WeightVersion.chip_id).where(of_student))
        )
        policies = select(Chip.name).join(Policy, Policy.chip_id == Chip.id)
        users = (
            self._named("the weights of chip", versions.order_by(Chip.name)),
            self._named("the policy of chip", policies.where(Policy.student_id == id)),
            self._jobs(Job.student_id, id),
        )
        self._refuse("student", id, *users)
        self._session.delete(student)
        self._session.flush()

    def _jobs(self, column: InstrumentedAttribute[Any], id: str) -> list[str]:
        """Name the jobs that have not ended and refer to this row."""
        query = select(Job.id).where(column == id, text(OPEN_JOBS)).order_by(Job.id)
        return self._named("job", query)

    def _named(self, what: str, query: Select[str]) -> list[str]:
        """Name the rows that are found, one more at most than are told."""
        return [f"{what} {one}" for one in self._session.scalars(query.limit(USERS_NAMED + 1))]

    @staticmethod
    def _refuse(what: str, id: str, *users: Iterable[str]) -> None:
        found = [user for some in users for user in some]
        if found:
            raise InUseError(what, id, found)

    def _forget(self, column: InstrumentedAttribute[Any], id: str) -> None:
        """Take the reference to a row out of the jobs that have ended."""
        condition: ColumnElement[bool] = column == id
        self._session.execute(update(Job).where(condition).values({column: None}))
