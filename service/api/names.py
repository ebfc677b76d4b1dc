"""Chips, teachers and students may be named by their names wherever their ids are taken."""

from collections.abc import Callable
from typing import Annotated, TypeVar

from fastapi import Depends, Path
from pydantic import BaseModel
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool

from service.api.context import Context, ContextDep
from service.db.repositories.names import NameRepository, is_id
from service.schemas.base import NAME_MAX

Body = TypeVar("Body", bound=BaseModel)
Resolve = Callable[[NameRepository, str], str]

_Word = Annotated[str, Path(min_length=1, max_length=NAME_MAX)]
_FIELDS: dict[str, Resolve] = {
    "chip_id": NameRepository.chip_id,
    "teacher_id": NameRepository.teacher_id,
    "student_id": NameRepository.student_id,
}


def with_ids(session: Session, body: Body) -> Body:
    """Return a body with ids in place of names. Raises AmbiguousNameError."""
    names = NameRepository(session)
    given = {name: getattr(body, name, None) for name in _FIELDS}
    ids = {name: _FIELDS[name](names, word) for name, word in given.items() if word is not None}
    return body.model_copy(update=ids) if any(ids[name] != given[name] for name in ids) else body


def id_in(session: Session, field: str, word: str | None) -> str | None:
    """Return the id that a filter named `field` means. Raises AmbiguousNameError."""
    return None if word is None else _FIELDS[field](NameRepository(session), word)


async def _resolved(context: Context, field: str, word: str) -> str:
    if is_id(word):  # without a thread and a query: most requests
        return word
    return await run_in_threadpool(_read, context, field, word)


def _read(context: Context, field: str, word: str) -> str:
    with context.database.reading() as session:
        return _FIELDS[field](NameRepository(session), word)


async def _chip(chip_id: _Word, context: ContextDep) -> str:
    return await _resolved(context, "chip_id", chip_id)


async def _teacher(teacher_id: _Word, context: ContextDep) -> str:
    return await _resolved(context, "teacher_id", teacher_id)


async def _student(student_id: _Word, context: ContextDep) -> str:
    return await _resolved(context, "student_id", student_id)


ChipId = Annotated[str, Depends(_chip)]
TeacherId = Annotated[str, Depends(_teacher)]
StudentId = Annotated[str, Depends(_student)]
