"""The pages of teachers and students: what a chip can be calibrated to."""

from typing import Annotated
from urllib.parse import urlencode

from fastapi import Depends, Query, Request, Response

from service.api.context import ContextDep, utc_now
from service.api.names import StudentId, TeacherId
from service.api.one_row import one_row
from service.api.threads import ServiceRouter
from service.web.access import Reader, to_login
from service.web.rendering import show
from service.web.teachers.page import read_teacher, read_teachers
from service.web.teachers.students import StudentQuery, read_student

router = ServiceRouter(include_in_schema=False)
Cursor = Annotated[str | None, Query(max_length=200)]


async def _asked(
    chips: Annotated[int, Query(ge=1, le=10**6)] = 1, jobs: Cursor = None
) -> StudentQuery:
    """Read which parts of the lists the address asks for."""
    return StudentQuery(chips, jobs)


@router.get("/teachers")
def teachers(
    request: Request,
    context: ContextDep,
    reader: Reader,
    teachers: Cursor = None,
    students: Cursor = None,
) -> Response:
    """List teachers and students, the newest first."""
    if not reader:
        return to_login(request)
    with context.database.reading() as session:
        found = read_teachers(session, teachers, students)
    return show(
        request,
        "teachers.html",
        page=found,
        now=utc_now(),
        more_teachers=_more("/teachers", teachers=found.next_teachers, students=students),
        more_students=_more("/teachers", teachers=teachers, students=found.next_students),
        further=bool(teachers or students),
    )


@router.get("/teachers/{teacher_id}")
def teacher(
    request: Request,
    context: ContextDep,
    reader: Reader,
    teacher_id: TeacherId,
    sets: Cursor = None,
    students: Cursor = None,
) -> Response:
    """Show one teacher: its network, its target sets, its students."""
    if not reader:
        return to_login(request)
    with context.database.reading() as session, one_row("teacher", teacher_id):
        found = read_teacher(session, teacher_id, sets, students)
    here = f"/teachers/{found.id}"
    return show(
        request,
        "teacher.html",
        page=found,
        now=utc_now(),
        more_sets=_more(here, sets=found.next_sets, students=students),
        more_students=_more(here, sets=sets, students=found.next_students),
    )


@router.get("/students/{student_id}")
def student(
    request: Request,
    context: ContextDep,
    reader: Reader,
    student_id: StudentId,
    query: Annotated[StudentQuery, Depends(_asked)],
) -> Response:
    """Show one student: its network, its accuracy, its operations, and who uses it."""
    if not reader:
        return to_login(request)
    now = utc_now()
    with context.database.reading() as session, one_row("student", student_id):
        found = read_student(session, student_id, query, context.kinds, now)
    here = f"/students/{found.id}"
    chips = query.chips if query.chips > 1 else None
    return show(
        request,
        "student.html",
        page=found,
        now=now,
        more_chips=_more(here, chips=found.next_chips, jobs=query.jobs),
        more_jobs=_more(here, chips=chips, jobs=found.next_jobs),
    )


def _more(path: str, **query: str | int | None) -> str:
    """Return an address with those parts of the query that are given."""
    given = {name: value for name, value in query.items() if value is not None}
    return f"{path}?{urlencode(given)}" if given else path
