"""Ids of chips, teachers and students that are named by their names."""

import re

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from service.db.tables import Chip, Student, Teacher
from service.errors import AmbiguousNameError

_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


def is_id(word: str) -> bool:
    """Return whether a word has the form of an id, so that it is no name."""
    return _ID.fullmatch(word) is not None


class NameRepository:
    """Turns a word into an id. One that names nothing stays as it is, and is found nowhere."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def chip_id(self, word: str) -> str:
        """Return the id of the chip of this name."""
        return self._one("chip", word, select(Chip.id).where(Chip.name == word))

    def teacher_id(self, word: str) -> str:
        """Return the id of the teacher of this name. Raises AmbiguousNameError."""
        return self._one("teacher", word, select(Teacher.id).where(Teacher.name == word))

    def student_id(self, word: str) -> str:
        """Return the id of the only student of the teacher of this name.

        Raises AmbiguousNameError.
        """
        query = select(Student.id).join(Teacher, Teacher.id == Student.teacher_id)
        return self._one("student", word, query.where(Teacher.name == word))

    def _one(self, what: str, word: str, query: Select[str]) -> str:
        if is_id(word):
            return word
        found = self._session.scalars(query.limit(2)).all()
        if len(found) > 1:
            raise AmbiguousNameError(what, word)
        return found[0] if found else word
