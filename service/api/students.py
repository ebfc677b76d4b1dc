"""Golden students, the results of `train` jobs: list, read and download them."""

from typing import Annotated

from fastapi import Query, Response

from service.api.auth import READ
from service.api.context import ContextDep, PageDep, Responses
from service.api.lists import list_page
from service.api.threads import ServiceRouter
from service.db.repositories.students import StudentRepository
from service.digests import CONTENT_DIGEST, digest_header
from service.schemas.base import SAFETENSORS, Page, ResourceId
from service.schemas.resources import StudentView

router = ServiceRouter(prefix="/v1/students", tags=["students"], dependencies=[READ])
_Id = Annotated[str | None, Query(max_length=36)]
_BLOCK: Responses = {200: {"content": {SAFETENSORS: {}}, "description": "A safetensors block"}}


@router.get("", response_model=Page[StudentView])
def list_students(
    context: ContextDep, page: PageDep, teacher_id: _Id = None, target_set_id: _Id = None
) -> Response:
    """List students, newest first."""
    with context.database.reading() as session:
        found = StudentRepository(session).list(teacher_id, target_set_id, page)
    return list_page(found, StudentView.model_validate)


@router.get("/{student_id}")
def get_student(student_id: ResourceId, context: ContextDep) -> StudentView:
    """Describe one student."""
    with context.database.reading() as session:
        return StudentView.model_validate(StudentRepository(session).get(student_id))


@router.get("/{student_id}/weights", response_class=Response, responses=_BLOCK)
def download_student(student_id: ResourceId, context: ContextDep) -> Response:
    """Download the codes, trims, scales and registers of a student."""
    with context.database.reading() as session:
        sha256 = StudentRepository(session).get(student_id).sha256
    headers = {CONTENT_DIGEST: digest_header(bytes.fromhex(sha256)), "ETag": f'"{sha256}"'}
    return Response(context.artifacts.read(sha256), media_type=SAFETENSORS, headers=headers)
