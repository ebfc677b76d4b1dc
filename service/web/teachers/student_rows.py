"""Rows of students: rule, accuracies, synaptic operations, and on how many chips they are."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy.orm import Session

from service.db.isolation import going_on
from service.db.repositories.paging import RowPage
from service.db.repositories.usage import UsageRepository
from service.db.tables import Student
from service.formatting import DASH, short_id
from service.logs import warn_in_a_line
from service.web.job.rows import figure_of


class Operations(NamedTuple):
    """Operations of a student for one sample, counted when it was trained."""

    synops: float | None  # additions that spikes cause
    ann: float | None  # multiplications of an ANN in the same layers
    ratio: float | None  # of the two
    analog: float | None  # multiplications of the analog input
    firing_rate: float | None  # spikes a neuron and step


class StudentRow(NamedTuple):
    """A row of a table of students."""

    id: str
    short: str
    teacher_id: str
    teacher: str
    rule: str
    golden: float | None
    teacher_accuracy: float | None
    operations: Operations
    chips: int
    created_at: datetime | None


def student_rows(session: Session, found: RowPage[Student]) -> tuple[StudentRow, ...]:
    """Build the rows of students, newest first, also of those that cannot be read."""
    usage, students = UsageRepository(session), found.rows
    teachers = usage.teacher_names([student.teacher_id for student in students])
    results = usage.results([student.job_id for student in students])
    chips = usage.chips([student.id for student in students])
    rows = [
        _any_row(student, teachers.get(student.teacher_id, ""), results, chips.get(student.id, 0))
        for student in students
    ]
    rows += [_unreadable(str(id)) for id in found.unreadable]
    return tuple(sorted(rows, key=lambda row: row.id, reverse=True))


def best_by_rule(accuracies: Sequence[tuple[str, Any]]) -> tuple[tuple[str, float, int], ...]:
    """Return rule, best golden accuracy and number of students, the best rule first."""
    found: dict[str, list[float]] = {}
    for rule, accuracy in accuracies:
        golden = figure_of(accuracy.get("golden")) if isinstance(accuracy, Mapping) else None
        if golden is not None:
            found.setdefault(str(rule), []).append(golden)
    rules = [(rule, max(figures), len(figures)) for rule, figures in found.items()]
    return tuple(sorted(rules, key=lambda one: -one[1]))


def operations_of(result: Any) -> Operations:
    """Read the operations from the result of a training; earlier ones may hold none."""
    effort = result.get("effort") if isinstance(result, Mapping) else None
    counted: Mapping[str, Any] = effort if isinstance(effort, Mapping) else {}
    names = ("synops", "ann_synops", "ratio", "analog_ops", "firing_rate")
    return Operations(*(figure_of(counted.get(name)) for name in names))


def _any_row(
    student: Student, teacher: str, results: Mapping[str, tuple[Any, Any]], chips: int
) -> StudentRow:
    with going_on() as outcome:
        _, result = results.get(student.job_id, (None, None))
        return StudentRow(
            id=student.id,
            short=short_id(student.id),
            teacher_id=student.teacher_id,
            teacher=teacher,
            rule=student.rule,
            golden=figure_of(student.accuracy.get("golden")),
            teacher_accuracy=figure_of(student.accuracy.get("teacher")),
            operations=operations_of(result),
            chips=chips,
            created_at=student.created_at,
        )
    if outcome.error is not None:
        event = "pages: the row of a student is damaged, it is shown as unreadable"
        warn_in_a_line(__name__, event, outcome.error, student_id=student.id)
    return _unreadable(student.id)


def _unreadable(id: str) -> StudentRow:
    nothing = Operations(None, None, None, None, None)
    return StudentRow(
        id, short_id(id), "", "", f"{DASH} its row cannot be read", None, None, nothing, 0, None
    )
