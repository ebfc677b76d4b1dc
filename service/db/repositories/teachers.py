"""Teachers."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from service.db.repositories.paging import PageRequest, RowPage, fetch_page
from service.db.repositories.rows import load_row
from service.db.tables import TargetSet, Teacher
from service.errors import (
    InUseError,
    TeacherNotFoundError,
)


class TeacherRepository:
    """Stores, reads and deletes teachers."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def get(self, teacher_id: str) -> Teacher:
        """Return the teacher. Raises TeacherNotFoundError."""
        teacher = load_row(self._session, Teacher, teacher_id, TeacherNotFoundError.what)
        if teacher is None:
            raise TeacherNotFoundError(teacher_id)
        return teacher

    def list(self, name: str | None, page: PageRequest) -> RowPage[Teacher]:
        """Return one page of teachers."""
        query = select(Teacher)
        if name is not None:
            query = query.where(Teacher.name == name)
        return fetch_page(self._session, query, Teacher.id, page)

    def add(self, teacher: Teacher) -> None:
        """Store a new teacher."""
        self._session.add(teacher)
        self._session.flush()

    def delete(self, teacher_id: str) -> None:
        """Delete a teacher. Raises TeacherNotFoundError, and InUseError if a target set uses it."""
        teacher = self.get(teacher_id)
        users = self._session.scalars(
            select(TargetSet.id).where(TargetSet.teacher_id == teacher_id).limit(1)
        )
        if used_by := users.first():
            raise InUseError("teacher", teacher_id, f"target set {used_by}")
        self._session.delete(teacher)
        self._session.flush()
