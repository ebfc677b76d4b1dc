"""Finds what is named: chips, jobs and networks by id, by short id, or by name."""

import re
from collections.abc import Callable, Iterable
from itertools import islice
from typing import TypeVar

from service.client.errors import TandemcalError
from service.client.transport import Transport
from service.formatting import short_id
from service.schemas.jobs import JobView
from service.schemas.resources import ChipView, StudentView, TargetSetItem, TeacherItem

SEARCHED = 2000  # newest resources among which a short id is looked for
_WHOLE = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_SHORT = re.compile(r"[0-9a-f]{8}", re.IGNORECASE)
Found = TypeVar("Found", ChipView, JobView, StudentView, TargetSetItem, TeacherItem)


class Lookup:
    """Turns a word into an id. A whole id costs no request.

    Each method raises TandemcalError of the status 404 if nothing, or more than one, is meant.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def chip(self, word: str) -> str:
        """Return the id of a chip that is named by its id, its short id or its name."""
        if _WHOLE.fullmatch(word):
            return word
        named = next(self._transport.every("/v1/chips", ChipView, name=word), None)
        if named is not None:
            return named.id
        return self._one("chip", word, self._transport.every("/v1/chips", ChipView))

    def job(self, word: str) -> str:
        """Return the id of a job that is named by its id or its short id."""
        if _WHOLE.fullmatch(word):
            return word
        return self._one("job", word, self._transport.every("/v1/jobs", JobView, limit=200))

    def teacher(self, word: str) -> str:
        """Return the id of a teacher: by its id, its short id or its name, the newest of it."""
        if _WHOLE.fullmatch(word):
            return word
        every = self._transport.every("/v1/teachers", TeacherItem)
        return self._one("teacher", word, every, lambda teacher: teacher.name == word)

    def target_set(self, word: str) -> str:
        """Return the id of a target set: by its id, its short id or its name, the newest of it."""
        if _WHOLE.fullmatch(word):
            return word
        every = self._transport.every("/v1/target-sets", TargetSetItem)
        return self._one("target set", word, every, lambda found: found.name == word)

    def student(self, word: str) -> str:
        """Return the id of a student: by its id or its short id, or the newest of a teacher."""
        if _WHOLE.fullmatch(word):
            return word
        teachers = {
            teacher.id
            for teacher in self._transport.every("/v1/teachers", TeacherItem)
            if teacher.name == word
        }
        every = self._transport.every("/v1/students", StudentView)
        return self._one("student", word, every, lambda student: student.teacher_id in teachers)

    @staticmethod
    def _one(
        kind: str,
        word: str,
        newest_first: Iterable[Found],
        is_named: Callable[[Found], bool] = lambda _: False,
    ) -> str:
        """Return the id of the newest that has the name, else of the only one with the short id."""
        meant: list[str] = []
        for found in islice(newest_first, SEARCHED):
            if is_named(found):
                return found.id
            if _SHORT.fullmatch(word) and short_id(found.id) == word.lower():
                meant.append(found.id)
        if len(meant) != 1:
            raise _unknown(kind, word, len(meant))
        return meant[0]


def _unknown(kind: str, word: str, count: int) -> TandemcalError:
    some = f"{count} {kind}s have the short id '{word}': give the whole id."
    detail = some if count else f"No {kind} has the id or the name '{word}'."
    return TandemcalError(404, {"type": "not-found", "title": "Not found", "detail": detail})
