"""Target sets: samples uploaded in chunks; a `collect` job takes the teacher's activations."""

from datetime import datetime
from typing import Annotated, NamedTuple

from fastapi import Path, Query, Request, Response, status
from starlette.concurrency import run_in_threadpool
from uuid_utils import uuid7

from ltl_core.network.spec import NetworkSpec
from ltl_core.teaching.checking import Arrays, check_activations, check_samples
from service.api.auth import OPERATE, READ, ActorDep
from service.api.conditional import IfMatch, require_match
from service.api.context import Context, ContextDep, NamedPageDep, utc_now
from service.api.idempotency import (
    IdempotentRequest,
    OnceAtMostDep,
    OnceDep,
    answer_made,
    made_earlier,
)
from service.api.lists import list_page
from service.api.names import id_in, with_ids
from service.api.one_row import row_answer
from service.api.threads import ServiceRouter, run_in
from service.api.uploads import UPLOAD, Upload, load, receive
from service.api.views import job_view, target_set_view, target_set_viewer
from service.db.repositories.audit import Actor, AuditRepository
from service.db.repositories.deletion import DeletionRepository
from service.db.repositories.jobs import JobRepository
from service.db.repositories.target_sets import TargetSetRepository
from service.db.repositories.teachers import TeacherRepository
from service.db.tables import TargetChunk, TargetSet
from service.jobs.kinds.collect import request_for
from service.request_errors import FieldProblem, InvalidFieldsError
from service.schemas.base import NAME_MAX, Page, ResourceId
from service.schemas.jobs import JobView
from service.schemas.resources import ChunkView, TargetSetItem, TargetSetRequest, TargetSetView
from service.states import Split, TargetSetState

router = ServiceRouter(prefix="/v1/target-sets", tags=["target sets"], dependencies=[READ])


@router.post(
    "",
    status_code=status.HTTP_201_CREATED,
    dependencies=[OPERATE],
    responses=made_earlier(TargetSetView),
)
def create_target_set(
    body: TargetSetRequest,
    response: Response,
    context: ContextDep,
    actor: ActorDep,
    once: OnceDep,
) -> TargetSetView:
    """Create a target set, and announce how many chunks will be uploaded."""
    now = utc_now()
    with context.database.writing() as session:
        sets = TargetSetRepository(session)
        idempotent = IdempotentRequest(session, "POST /v1/target-sets", once, body)
        if made := idempotent.earlier_result():
            target_set = sets.get(made)
        else:
            named = with_ids(session, body)
            TeacherRepository(session).get(named.teacher_id)
            target_set = _target_set(named, now)
            sets.add(target_set)
            idempotent.remember(target_set.id, now)
            AuditRepository(session).record(
                actor, "target_set.created", target_set.id, now, name=body.name
            )
        view = target_set_view(session, target_set)
    answer_made(response, f"/v1/target-sets/{view.id}", earlier=made is not None)
    return view


@router.get("", response_model=Page[TargetSetItem])
def list_target_sets(
    context: ContextDep,
    page: NamedPageDep,
    teacher_id: Annotated[str | None, Query(max_length=NAME_MAX)] = None,
) -> Response:
    """List target sets, newest first. Each one by its id says which chunks are missing."""
    with context.database.reading() as session:
        found = TargetSetRepository(session).list(id_in(session, "teacher_id", teacher_id), page)
        return list_page(found, target_set_viewer(session, found.rows))


@router.get("/{target_set_id}", response_model=TargetSetView)
def get_target_set(target_set_id: ResourceId, context: ContextDep) -> Response:
    """Read one target set. `missing` says which chunks an interrupted upload still has to send."""
    with context.database.reading() as session:
        sets = TargetSetRepository(session)
        return row_answer(
            "target set",
            target_set_id,
            lambda: target_set_view(session, sets.get(target_set_id)),
        )


@router.put("/{target_set_id}/chunks/{index}", dependencies=[OPERATE], openapi_extra=UPLOAD)
async def upload_chunk(
    target_set_id: ResourceId,
    index: Annotated[int, Path(ge=0, lt=2**31)],
    split: Split,
    request: Request,
    context: ContextDep,
    actor: ActorDep,
) -> ChunkView:
    """Upload one chunk, a safetensors block of `inputs` and `labels`.

    Without labels the teacher's outputs are learned. Of a teacher whose weights are not here the
    block also holds `activation:LAYER` for each hidden layer of neurons, with the shape of its
    output for each sample and behind its activation function, and `logits`. Uploading the same
    chunk again changes nothing.
    """
    teacher = await run_in_threadpool(_teacher_of_chunk, context, target_set_id, index)
    with context.artifacts.temporary() as scratch:
        upload = await receive(request, scratch, context.settings.max_upload_bytes)
        chunk = TargetChunk(
            target_set_id=target_set_id,
            index=index,
            split=split,
            sha256=upload.sha256,
            created_at=utc_now(),
        )
        uploads = context.threads.uploads
        return await run_in(uploads, _store, context, teacher, upload, chunk, actor)


@router.post(
    "/{target_set_id}/complete",
    status_code=status.HTTP_202_ACCEPTED,
    dependencies=[OPERATE],
    responses=made_earlier(JobView),
)
def complete_target_set(
    target_set_id: ResourceId,
    response: Response,
    context: ContextDep,
    actor: ActorDep,
    once: OnceAtMostDep,
) -> JobView:
    """Declare the upload complete: a `collect` job runs the teacher over the samples.

    Of a teacher whose weights are not here it takes the activations that were uploaded, and fails
    if the network cannot have computed them.
    """
    now = utc_now()
    with context.database.writing() as session:
        jobs = JobRepository(session)
        idempotent = IdempotentRequest(session, "POST complete", once, target_set_id)
        if made := idempotent.earlier_result():
            view = job_view(session, jobs.get(made))
        else:
            sets = TargetSetRepository(session)
            target_set = sets.get_in(target_set_id, TargetSetState.UPLOADING)
            submitter = context.submitter(session, now, actor.key_id)
            job = submitter.submit(request_for(target_set))
            idempotent.remember(job.id, now)
            AuditRepository(session).record(
                actor, "target_set.completed", target_set_id, now, job_id=job.id
            )
            view = job_view(session, job)
    answer_made(response, f"/v1/jobs/{view.id}", earlier=made is not None)
    return view


@router.delete("/{target_set_id}", status_code=status.HTTP_204_NO_CONTENT, dependencies=[OPERATE])
def delete_target_set(
    target_set_id: ResourceId, context: ContextDep, actor: ActorDep, if_match: IfMatch = None
) -> None:
    """Delete a target set that no student and no open job uses, with its samples.

    With `If-Match`, only if the target set still has this ETag.
    """
    with context.database.writing() as session:
        rows = DeletionRepository(session)
        target_set = rows.lock_target_set(target_set_id)
        if if_match is not None:
            require_match(if_match, target_set_view(session, target_set))
        about = {"name": target_set.name, "teacher_id": target_set.teacher_id}
        rows.delete_target_set(target_set)
        AuditRepository(session).record(
            actor, "target_set.deleted", target_set_id, utc_now(), **about
        )


def _target_set(body: TargetSetRequest, now: datetime) -> TargetSet:
    return TargetSet(
        id=str(uuid7()),
        name=body.name,
        teacher_id=body.teacher_id,
        state=TargetSetState.UPLOADING,
        chunks=body.chunks,
        percentile=body.percentile,
        created_at=now,
    )


class _TeacherOfChunk(NamedTuple):
    """What a chunk is checked against."""

    network: NetworkSpec
    has_weights: bool

    def check(self, arrays: Arrays) -> int:
        """Return the number of samples. Raises what the checks raise."""
        check = check_samples if self.has_weights else check_activations
        return check(self.network, arrays)


def _teacher_of_chunk(context: Context, target_set_id: str, index: int) -> _TeacherOfChunk:
    """Read the teacher's network, before the upload begins.

    Raises TargetSetNotFoundError, and InvalidFieldsError if there is no chunk of this index.
    """
    with context.database.reading() as session:
        target_set = TargetSetRepository(session).get(target_set_id)
        teacher = TeacherRepository(session).get(target_set.teacher_id)
    if index >= target_set.chunks:
        message = f"this target set has {target_set.chunks} chunks, numbered from 0"
        raise InvalidFieldsError(FieldProblem(f"/chunks/{index}", message))
    network = NetworkSpec.model_validate(teacher.network)
    return _TeacherOfChunk(network, has_weights=teacher.weights_sha256 is not None)


def _store(
    context: Context, teacher: _TeacherOfChunk, upload: Upload, chunk: TargetChunk, actor: Actor
) -> ChunkView:
    arrays, _ = load(upload.path)
    chunk.samples = teacher.check(arrays)
    view = ChunkView.model_validate(chunk)
    with context.database.writing() as session:
        sets = TargetSetRepository(session)
        stored = sets.chunk(chunk.target_set_id, chunk.index)
        if stored is not None and ChunkView.model_validate(stored) == view:
            return view
        sets.get_in(chunk.target_set_id, TargetSetState.UPLOADING)
        sets.put_chunk(chunk)
        about = {"index": chunk.index, "sha256": chunk.sha256}
        AuditRepository(session).record(
            actor, "target_set.chunk_stored", chunk.target_set_id, chunk.created_at, **about
        )
        context.artifacts.adopt(upload.path, upload.sha256)
    return view
