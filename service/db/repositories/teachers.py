"""Teachers."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from service.db.repositories.paging import PageRequest, RowPage, fetch_page
from service.db.repositories.rows import load_row
from service.db.repositories.sorted_lists import Sort, by_text, fetch_sorted
from service.db.tables import Teacher
from service.errors import TeacherNotFoundError


class TeacherRepository:
    """Stores and reads teachers."""

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
        if page.sort == "name":
            by_name = Sort(Teacher.name, by_text)
            return fetch_sorted(self._session, query, Teacher.id, by_name, page)
        return fetch_page(self._session, query, Teacher.id, page)

    def add(self, teacher: Teacher) -> None:
        """Store a new teacher."""
        self._session.add(teacher)
        self._session.flush()
