"""Golden students, the results of `train` jobs: list, read, download and delete them."""

from typing import Annotated

from fastapi import Query, Request, Response, status
from starlette.concurrency import run_in_threadpool

from service.api.auth import OPERATE, READ, ActorDep
from service.api.conditional import IfMatch, require_match
from service.api.context import Context, ContextDep, PageDep, utc_now
from service.api.downloads import DOWNLOAD, NIR_DOWNLOAD, block_answer
from service.api.lists import list_page
from service.api.names import StudentId, id_in
from service.api.nir_export import nir_file
from service.api.one_row import row_answer
from service.api.threads import ServiceRouter, run_in
from service.db.repositories.audit import AuditRepository
from service.db.repositories.deletion import DeletionRepository
from service.db.repositories.students import StudentRepository
from service.schemas.base import BYTES, NAME_MAX, Page
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


@router.delete("/{student_id}", status_code=status.HTTP_204_NO_CONTENT, dependencies=[OPERATE])
def delete_student(
    student_id: StudentId, context: ContextDep, actor: ActorDep, if_match: IfMatch = None
) -> None:
    """Delete a student that no weights of a chip, no policy and no open job uses.

    With `If-Match`, only if the student still has this ETag.
    """
    with context.database.writing() as session:
        rows = DeletionRepository(session)
        student = rows.lock_student(student_id)
        if if_match is not None:
            require_match(if_match, StudentView.model_validate(student))
        about = {"teacher_id": student.teacher_id, "target_set_id": student.target_set_id}
        rows.delete_student(student)
        AuditRepository(session).record(actor, "student.deleted", student_id, utc_now(), **about)


@router.get("/{student_id}/weights", response_class=Response, responses=DOWNLOAD)
def download_student(student_id: StudentId, request: Request, context: ContextDep) -> Response:
    """Download the codes, trims, scales and registers of a student."""
    with context.database.reading() as session:
        sha256 = StudentRepository(session).get(student_id).sha256
    return block_answer(request, context.artifacts.read(sha256), sha256)


@router.get("/{student_id}/nir", response_class=Response, responses=NIR_DOWNLOAD)
async def download_nir(student_id: StudentId, context: ContextDep) -> Response:
    """Download a student as a file of NIR, which other frameworks of spiking networks read.

    A process of its own writes it, which takes some seconds. NIR holds floats; the integer codes
    of the student are the weights of `/weights`.
    """
    block = await run_in_threadpool(_block, context, student_id)
    file = await run_in(context.threads.openings, nir_file, block)
    headers = {"Content-Disposition": f'attachment; filename="{student_id}.nir"'}
    return Response(file, media_type=BYTES, headers=headers)


def _block(context: Context, student_id: str) -> bytes:
    with context.database.reading() as session:
        sha256 = StudentRepository(session).get(student_id).sha256
    return context.artifacts.read(sha256)
