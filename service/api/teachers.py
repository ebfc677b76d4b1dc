"""Teachers: a network, with its weights or without, checked before it is stored."""

from typing import Annotated, NamedTuple

from fastapi import Query, Request, Response, status
from pydantic import ValidationError
from uuid_utils import uuid7

from ltl_core.teaching.checking import check_weights
from service.api.auth import OPERATE, READ, ActorDep
from service.api.conditional import IfMatch, require_match
from service.api.context import Context, ContextDep, NamedPageDep, utc_now
from service.api.field_errors import invalid_fields
from service.api.idempotency import (
    IdempotentRequest,
    Made,
    Once,
    OnceDep,
    answer_made,
    made_earlier,
)
from service.api.lists import list_page
from service.api.names import TeacherId
from service.api.one_row import row_answer
from service.api.threads import ServiceRouter, run_in
from service.api.uploads import (
    UPLOAD,
    Upload,
    is_json,
    load,
    receive,
    with_json,
)
from service.db.repositories.audit import Actor, AuditRepository
from service.db.repositories.deletion import DeletionRepository
from service.db.repositories.teachers import TeacherRepository
from service.db.tables import Teacher
from service.schemas.base import Page
from service.schemas.resources import (
    NETWORK_TEXT_MAX,
    TeacherItem,
    TeacherMetadata,
    TeacherRequest,
    TeacherView,
)


class Storing(NamedTuple):
    """What a teacher is stored with, whatever was sent of it."""

    context: Context
    once: Once
    actor: Actor


router = ServiceRouter(prefix="/v1/teachers", tags=["teachers"], dependencies=[READ])


@router.post(
    "",
    status_code=status.HTTP_201_CREATED,
    dependencies=[OPERATE],
    openapi_extra=with_json(UPLOAD, TeacherRequest.__name__),
    responses=made_earlier(TeacherView),
)
async def upload_teacher(
    request: Request, response: Response, context: ContextDep, actor: ActorDep, once: OnceDep
) -> TeacherView:
    """Upload a teacher: a safetensors block of its weights.

    The metadata of the block holds `name`, and `network` as JSON. The header `Content-Digest`
    holds the SHA-256 of the body. JSON with `name` and `network` makes a teacher whose weights
    stay with their owner: then the chunks of its target sets hold activations.
    """
    storing = Storing(context, once, actor)
    with context.artifacts.temporary() as scratch:
        json = is_json(request)
        limit = NETWORK_TEXT_MAX if json else context.settings.max_upload_bytes
        upload = await receive(request, scratch, limit)
        store = _store_network if json else _store_block
        made = await run_in(context.threads.uploads, store, storing, upload)
    answer_made(response, f"/v1/teachers/{made.view.id}", earlier=made.earlier)
    return made.view


@router.get("", response_model=Page[TeacherItem])
def list_teachers(
    context: ContextDep,
    page: NamedPageDep,
    name: Annotated[str | None, Query(max_length=200)] = None,
) -> Response:
    """List teachers, newest first, without their networks."""
    with context.database.reading() as session:
        found = TeacherRepository(session).list(name, page)
    return list_page(found, TeacherItem.model_validate)


@router.get("/{teacher_id}", response_model=TeacherView)
def get_teacher(teacher_id: TeacherId, context: ContextDep) -> Response:
    """Describe one teacher."""
    with context.database.reading() as session:
        teachers = TeacherRepository(session)
        return row_answer(
            "teacher", teacher_id, lambda: TeacherView.model_validate(teachers.get(teacher_id))
        )


@router.delete("/{teacher_id}", status_code=status.HTTP_204_NO_CONTENT, dependencies=[OPERATE])
def delete_teacher(
    teacher_id: TeacherId, context: ContextDep, actor: ActorDep, if_match: IfMatch = None
) -> None:
    """Delete a teacher that no target set and no open job uses.

    With `If-Match`, only if the teacher still has this ETag.
    """
    with context.database.writing() as session:
        rows = DeletionRepository(session)
        teacher = rows.lock_teacher(teacher_id)
        if if_match is not None:
            require_match(if_match, TeacherView.model_validate(teacher))
        about = {"name": teacher.name}
        rows.delete_teacher(teacher)
        AuditRepository(session).record(actor, "teacher.deleted", teacher_id, utc_now(), **about)


def _store_block(storing: Storing, upload: Upload) -> Made[TeacherView]:
    arrays, metadata = load(upload.path)
    about = _read_metadata(metadata)
    check_weights(about.network, arrays)
    return _store(storing, about, upload, upload.sha256)


def _store_network(storing: Storing, upload: Upload) -> Made[TeacherView]:
    try:
        about = TeacherRequest.model_validate_json(upload.path.read_bytes())
    except ValidationError as error:
        raise invalid_fields(error, "") from None
    return _store(storing, about, upload, None)


def _store(
    storing: Storing,
    about: TeacherMetadata | TeacherRequest,
    upload: Upload,
    weights_sha256: str | None,
) -> Made[TeacherView]:
    now, context = utc_now(), storing.context
    with context.database.writing() as session:
        teachers = TeacherRepository(session)
        idempotent = IdempotentRequest(session, "POST /v1/teachers", storing.once, upload.sha256)
        if made := idempotent.earlier_result():
            return Made(TeacherView.model_validate(teachers.get(made)), earlier=True)
        teacher = Teacher(
            id=str(uuid7()),
            name=about.name,
            network=about.network.model_dump(mode="json"),
            weights_sha256=weights_sha256,
            created_at=now,
        )
        teachers.add(teacher)
        idempotent.remember(teacher.id, now)
        told = {"name": about.name, "sha256": weights_sha256}
        audit = AuditRepository(session)
        audit.record(storing.actor, "teacher.uploaded", teacher.id, now, **told)
        if weights_sha256 is not None:
            context.artifacts.adopt(upload.path, weights_sha256)
        return Made(TeacherView.model_validate(teacher), earlier=False)


def _read_metadata(metadata: dict[str, str]) -> TeacherMetadata:
    try:
        return TeacherMetadata.model_validate(metadata)
    except ValidationError as error:
        raise invalid_fields(error, "/__metadata__") from None
