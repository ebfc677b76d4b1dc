"""Data of the page of one student: its network, its accuracy, its operations, who uses it."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy.orm import Session

from service.db.repositories.paging import PageRequest
from service.db.repositories.students import StudentRepository
from service.db.repositories.target_sets import TargetSetRepository
from service.db.repositories.teachers import TeacherRepository
from service.db.repositories.usage import ChipInUse, UsageRepository
from service.db.tables import Student, TargetSet
from service.formatting import DASH, amount, percent, short_id
from service.jobs.kinds.registry import JobKinds
from service.web.job.rows import JobRow, figure_of, job_rows
from service.web.teachers.network import NetworkRow
from service.web.teachers.page import any_network
from service.web.teachers.student_rows import Operations, operations_of

CHIPS_SHOWN, _JOBS_SHOWN = 50, 25


class StudentQuery(NamedTuple):
    """Which part of the two lists to show, from the query of the address."""

    chips: int = 1  # page
    jobs: str | None = None  # cursor


class ChipUse(NamedTuple):
    """A chip whose version in force is of the student."""

    id: str
    name: str
    health: str
    version: int
    after: float | None  # accuracy at publication
    published_at: datetime


class StudentPage(NamedTuple):
    """All data of the page of one student."""

    id: str
    short: str
    teacher_id: str
    teacher: str
    headline: str
    facts: tuple[tuple[str, str], ...]
    job_id: str
    created_at: datetime
    network: NetworkRow | None
    accuracies: tuple[tuple[str, float], ...]  # on which samples, and the golden accuracy
    operations: Operations
    chips: tuple[ChipUse, ...]
    chips_found: int
    next_chips: int | None
    jobs: tuple[JobRow, ...]
    next_jobs: str | None


def read_student(
    session: Session, student_id: str, query: StudentQuery, kinds: JobKinds, now: datetime
) -> StudentPage:
    """Read the data of one student. Raises StudentNotFoundError and ForeignCursorError."""
    student = StudentRepository(session).get(student_id)
    teacher, usage = TeacherRepository(session).get(student.teacher_id), UsageRepository(session)
    request, result = usage.results([student.job_id]).get(student.job_id, ({}, {}))
    targets = TargetSetRepository(session).get(student.target_set_id)
    effort = result.get("effort") if isinstance(result, Mapping) else None
    rates = effort.get("layer_rates") or () if isinstance(effort, Mapping) else ()
    found = usage.chips([student.id]).get(student.id, 0)
    skip = CHIPS_SHOWN * (query.chips - 1)
    jobs = usage.jobs(student.id, PageRequest(_JOBS_SHOWN, query.jobs))
    return StudentPage(
        id=student.id,
        short=short_id(student.id),
        teacher_id=teacher.id,
        teacher=teacher.name,
        headline=_headline(student, teacher.name),
        facts=_facts(student, targets, request),
        job_id=student.job_id,
        created_at=student.created_at,
        network=any_network(teacher, rates),
        accuracies=_accuracies(student, _test_size(targets, result)),
        operations=operations_of(result),
        chips=tuple(map(_chip, usage.chips_with(student.id, CHIPS_SHOWN, skip))),
        chips_found=found,
        next_chips=query.chips + 1 if skip + CHIPS_SHOWN < found else None,
        jobs=job_rows(session, jobs, kinds, now),
        next_jobs=jobs.next_cursor,
    )


def _headline(student: Student, teacher: str) -> str:
    golden = figure_of(student.accuracy.get("golden"))
    before = figure_of(student.accuracy.get("teacher"))
    named = f"Golden student {short_id(student.id)} of {teacher}"
    if golden is None:
        return f"{named}, trained with {student.rule}."
    beside = f", its teacher {percent(before)}" if before is not None else ""
    return f"{named}: {percent(golden)} right{beside}."


def _facts(student: Student, targets: TargetSet, request: Any) -> tuple[tuple[str, str], ...]:
    asked = request.get("settings") if isinstance(request, Mapping) else None
    settings: Mapping[str, Any] = asked if isinstance(asked, Mapping) else {}
    neuron = settings.get("neuron")
    steps = figure_of(neuron.get("steps")) if isinstance(neuron, Mapping) else None
    facts = [
        ("Rule", student.rule),
        ("Neurons reset to", student.reset),
        ("Window", DASH if steps is None else f"{amount(steps)} steps"),
        ("Target set", targets.name),
    ]
    for name, title in (("epochs", "Epochs"), ("weight_noise", "Weight noise"), ("seed", "Seed")):
        if value := figure_of(settings.get(name)):
            facts.append((title, percent(value) if name == "weight_noise" else str(value)))
    return tuple(facts)


def _accuracies(student: Student, size: float | None) -> tuple[tuple[str, float], ...]:
    """Return the golden accuracy on the test split, and on the samples that chips are measured on.

    The key of such an entry ends with how many samples of the test split were asked for.
    """
    found = []
    if (golden := figure_of(student.accuracy.get("golden"))) is not None:
        found.append((f"{_all(size)} of the test split, when it was trained", golden))
    for key, value in (student.golden_accuracy or {}).items():
        if (figure := figure_of(value)) is not None:
            used = _used(str(key).rpartition(":")[2], size)
            found.append((f"{used} that its chips are measured on", figure))
    return tuple(dict.fromkeys(found))


def _used(asked: str, size: float | None) -> str:
    """Say how many samples of a test split of this size are used where so many are asked for."""
    if not asked.isdecimal() or (size is not None and int(asked) >= size):
        return _all(size)
    return f"{amount(int(asked))} samples" if size is not None else f"at most {asked} samples"


def _all(size: float | None) -> str:
    return f"all {amount(size)} samples" if size is not None else "all samples"


def _test_size(targets: TargetSet, result: Any) -> float | None:
    """Return how many samples the test split has; None where neither job has counted them."""
    counted = targets.summary.get("samples") if isinstance(targets.summary, Mapping) else None
    size = figure_of(counted.get("test")) if isinstance(counted, Mapping) else None
    if size is None and isinstance(result, Mapping):
        return figure_of(result.get("test_samples"))
    return size


def _chip(found: ChipInUse) -> ChipUse:
    accuracy = found.accuracy if isinstance(found.accuracy, Mapping) else {}
    after = figure_of(accuracy.get("after"))
    return ChipUse(found.id, found.name, found.health, found.version, after, found.published_at)
