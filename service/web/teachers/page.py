"""Data of the pages of teachers: the list of them all, and one of them."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy.orm import Session

from service.db.isolation import going_on
from service.db.repositories.paging import PageRequest, RowPage
from service.db.repositories.students import StudentRepository
from service.db.repositories.target_sets import TargetSetRepository
from service.db.repositories.teachers import TeacherRepository
from service.db.repositories.usage import UsageRepository
from service.db.tables import Teacher
from service.formatting import DASH, plural
from service.logs import warn_in_a_line
from service.states import TargetSetState
from service.web.teachers.network import NetworkRow, network_row, shape_text
from service.web.teachers.student_rows import StudentRow, best_by_rule, student_rows
from service.web.teachers.targets import TargetRow, target_row, unreadable_targets

_TEACHERS_SHOWN, _STUDENTS_SHOWN, _SETS_SHOWN = 25, 25, 10


class TeacherRow(NamedTuple):
    """A row of the table of teachers."""

    id: str
    name: str
    network: str
    weights: str  # where they are
    ready_sets: int
    students: int
    created_at: datetime | None


class TeacherList(NamedTuple):
    """All data of the page that lists teachers and students."""

    headline: str
    teachers: tuple[TeacherRow, ...]
    next_teachers: str | None  # cursor
    students: tuple[StudentRow, ...]
    next_students: str | None  # cursor


class TeacherPage(NamedTuple):
    """All data of the page of one teacher."""

    id: str
    name: str
    created_at: datetime
    has_weights: bool
    network: NetworkRow | None  # None if it cannot be read
    sets: tuple[TargetRow, ...]
    next_sets: str | None  # cursor
    rules: tuple[tuple[str, float, int], ...]  # rule, best golden accuracy, students
    students: tuple[StudentRow, ...]
    next_students: str | None  # cursor


def read_teachers(
    session: Session, teachers_after: str | None, students_after: str | None
) -> TeacherList:
    """Read the data of the list, from these cursors on. Raises ForeignCursorError."""
    found = TeacherRepository(session).list(None, PageRequest(_TEACHERS_SHOWN, teachers_after))
    asked = PageRequest(_STUDENTS_SHOWN, students_after)
    students = StudentRepository(session).list(None, None, asked)
    rows = _teacher_rows(session, found)
    return TeacherList(
        headline="Teachers and students",
        teachers=rows,
        next_teachers=found.next_cursor,
        students=student_rows(session, students),
        next_students=students.next_cursor,
    )


def read_teacher(
    session: Session, teacher_id: str, sets_after: str | None, students_after: str | None
) -> TeacherPage:
    """Read the data of one teacher. Raises TeacherNotFoundError and ForeignCursorError."""
    teacher = TeacherRepository(session).get(teacher_id)
    students = StudentRepository(session).list(
        teacher.id, None, PageRequest(_STUDENTS_SHOWN, students_after)
    )
    sets, next_sets = _target_rows(session, teacher.id, sets_after)
    return TeacherPage(
        id=teacher.id,
        name=teacher.name,
        created_at=teacher.created_at,
        has_weights=teacher.weights_sha256 is not None,
        network=any_network(teacher),
        sets=sets,
        next_sets=next_sets,
        rules=best_by_rule(UsageRepository(session).accuracies(teacher.id)),
        students=student_rows(session, students),
        next_students=students.next_cursor,
    )


def any_network(teacher: Teacher, rates: Any = ()) -> NetworkRow | None:
    """Lay out the network of a teacher; None if its row holds what is no network."""
    known = [rate for rate in rates if isinstance(rate, int | float)]
    with going_on() as outcome:
        return network_row(teacher.network, known)
    if outcome.error is not None:
        event = "pages: the network of a teacher is damaged, it is not shown"
        warn_in_a_line(__name__, event, outcome.error, teacher_id=teacher.id)
    return None


def _teacher_rows(session: Session, found: RowPage[Teacher]) -> tuple[TeacherRow, ...]:
    usage, ids = UsageRepository(session), [teacher.id for teacher in found.rows]
    sets, students = usage.ready_sets(ids), usage.students(ids)
    rows = [
        TeacherRow(
            id=teacher.id,
            name=teacher.name,
            network=_in_short(teacher.network),
            weights="here" if teacher.weights_sha256 is not None else "kept by their owner",
            ready_sets=sets.get(teacher.id, 0),
            students=students.get(teacher.id, 0),
            created_at=teacher.created_at,
        )
        for teacher in found.rows
    ]
    rows += [
        TeacherRow(id, id, "its row cannot be read", DASH, 0, 0, None) for id in found.unreadable
    ]
    return tuple(sorted(rows, key=lambda row: row.id, reverse=True))


def _in_short(network: Mapping[str, Any]) -> str:
    """Describe a network without building it, which takes long for a deep one."""
    with going_on():
        layers = [str(layer["name"]) for layer in network["layers"]]
        return f"{shape_text(network['input_shape'])}, {plural(len(layers), 'layer')}"
    return DASH


def _target_rows(
    session: Session, teacher_id: str, after: str | None
) -> tuple[tuple[TargetRow, ...], str | None]:
    repository = TargetSetRepository(session)
    found = repository.list(teacher_id, PageRequest(_SETS_SHOWN, after))
    rows = [
        target_row(
            row, repository.arrived(row.id) if row.state == TargetSetState.UPLOADING else None
        )
        for row in found.rows
    ]
    rows += [unreadable_targets(str(id)) for id in found.unreadable]
    return tuple(sorted(rows, key=lambda row: row.id, reverse=True)), found.next_cursor
