"""Golden students, the results of `train` jobs: list, read and download them."""

from typing import Annotated

from fastapi import Query, Request, Response

from service.api.auth import READ
from service.api.context import ContextDep, PageDep
from service.api.downloads import DOWNLOAD, block_answer
from service.api.lists import list_page
from service.api.names import StudentId, id_in
from service.api.one_row import row_answer
from service.api.threads import ServiceRouter
from service.db.repositories.students import StudentRepository
from service.schemas.base import NAME_MAX, Page
from service.schemas.resources import StudentView

router = ServiceRouter(prefix="/v1/students", tags=["students"], dependencies=[READ])
_Id = Annotated[str | None, Query(max_length=NAME_MAX)]


@router.get("", response_model=Page[StudentView])
def list_students(
    context: ContextDep, page: PageDep, teacher_id: _Id = None, target_set_id: _Id = None
) -> Response:
    """List students, newest first."""
    with context.database.reading() as session:
        found = StudentRepository(session).list(
            id_in(session, "teacher_id", teacher_id), target_set_id, page
        )
    return list_page(found, StudentView.model_validate)


@router.get("/{student_id}", response_model=StudentView)
def get_student(student_id: StudentId, context: ContextDep) -> Response:
    """Describe one student."""
    with context.database.reading() as session:
        students = StudentRepository(session)
        return row_answer(
            "student", student_id, lambda: StudentView.model_validate(students.get(student_id))
        )


@router.get("/{student_id}/weights", response_class=Response, responses=DOWNLOAD)
def download_student(student_id: StudentId, request: Request, context: ContextDep) -> Response:
    """Download the codes, trims, scales and registers of a student."""
    with context.database.reading() as session:
        sha256 = StudentRepository(session).get(student_id).sha256
    return block_answer(request, context.artifacts.read(sha256), sha256)
