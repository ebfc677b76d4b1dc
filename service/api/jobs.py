"""Jobs: submit, list, read, wait for, cancel and retry them; read their logs."""

import time
from enum import StrEnum
from typing import Annotated, Any, NamedTuple

from fastapi import APIRouter, Body, Header, Query, Response, status
from fastapi.responses import PlainTextResponse
from starlette.concurrency import run_in_threadpool

from service.api.auth import OPERATE, READ, ActorDep
from service.api.cancelling import cancel
from service.api.context import Context, ContextDep, PageDep, Responses, utc_now
from service.api.idempotency import (
    IdempotentRequest,
    OnceAtMostDep,
    answer_made,
    made_earlier,
)
from service.api.lists import list_page
from service.api.names import id_in, with_ids
from service.api.one_row import one_row
from service.api.retrying import retry
from service.api.threads import ServiceRouter
from service.api.views import job_view, job_viewer
from service.db.repositories.audit import AuditRepository
from service.db.repositories.events import EventRepository
from service.db.repositories.jobs import JobFilter, JobRepository
from service.db.tables import Event
from service.digests import etag
from service.jobs.kinds.registry import JobKinds
from service.schemas.base import NAME_MAX, Page, ResourceId
from service.schemas.jobs import JobView
from service.states import TERMINAL, JobStatus

_router = ServiceRouter()
_NOT_MODIFIED: Responses = {304: {"description": "The job has not changed"}}
_LOG_LINES = 100_000
_POLL_INTERVAL = 1.0  # s; a few changes, such as waiting for a chip, write no event


def make_router(kinds: JobKinds) -> APIRouter:
    """Make the routes of jobs; the registry says which bodies and names of kinds they take."""
    router = ServiceRouter(prefix="/v1/jobs", tags=["jobs"], dependencies=[READ])
    _add_submit_job(router, kinds.bodies())
    _add_list_jobs(router, kinds.names())
    router.include_router(_router)
    return router


def _add_submit_job(router: APIRouter, bodies: Any) -> None:
    @router.post(
        "",
        status_code=status.HTTP_202_ACCEPTED,
        dependencies=[OPERATE],
        responses=made_earlier(JobView),
    )
    def submit_job(
        body: Annotated[bodies, Body()],  # a type that is made with the service
        response: Response,
        context: ContextDep,
        actor: ActorDep,
        once: OnceAtMostDep,
    ) -> JobView:
        """Queue a job. The same Idempotency-Key with the same body returns the same job."""
        now = utc_now()
        with context.database.writing() as session:
            idempotent = IdempotentRequest(session, "POST /v1/jobs", once, body)
            if made := idempotent.earlier_result():
                view = job_view(session, JobRepository(session).get(made))
            else:
                submitter = context.submitter(session, now, actor.key_id)
                job = submitter.submit(with_ids(session, body))
                idempotent.remember(job.id, now)
                about = {"kind": job.kind, "chip_id": job.chip_id}
                AuditRepository(session).record(actor, "job.submitted", job.id, now, **about)
                view = job_view(session, job)
        answer_made(response, f"/v1/jobs/{view.id}", earlier=made is not None)
        return view


def _add_list_jobs(router: APIRouter, names: type[StrEnum]) -> None:
    @router.get("", response_model=Page[JobView])
    def list_jobs(
        context: ContextDep,
        page: PageDep,
        status: Annotated[list[JobStatus] | None, Query(max_length=len(JobStatus))] = None,
        kind: names | None = None,  # type: ignore[valid-type]  # made with the service
        chip_id: Annotated[str | None, Query(max_length=NAME_MAX)] = None,
    ) -> Response:
        """List jobs, newest first. `status` may be given several times."""
        with context.database.reading() as session:
            wanted = JobFilter(tuple(status or ()), kind, id_in(session, "chip_id", chip_id))
            found = JobRepository(session).list(wanted, page)
            return list_page(found, job_viewer(session, found.rows))


@_router.get("/{job_id}", response_model=JobView, responses=_NOT_MODIFIED)
async def get_job(
    job_id: ResourceId,
    context: ContextDep,
    wait: Annotated[float, Query(ge=0, le=60, description="seconds")] = 0,
    if_none_match: Annotated[str | None, Header(max_length=1000)] = None,
) -> Response:
    """Read one job. With `wait` the answer comes when the job has ended.

    With `wait` and `If-None-Match` the answer comes as soon as anything about the job changes.
    """
    if wait > 0:
        snapshot = await _awaited(context, job_id, wait, if_none_match)
    else:
        snapshot = await run_in_threadpool(_read_job, context, job_id)
    headers = {"ETag": snapshot.etag, "Cache-Control": "no-cache"}
    if if_none_match is not None and snapshot.etag in if_none_match:
        return Response(status_code=status.HTTP_304_NOT_MODIFIED, headers=headers)
    return Response(snapshot.body, media_type="application/json", headers=headers)


@_router.post("/{job_id}/cancel", status_code=status.HTTP_202_ACCEPTED, dependencies=[OPERATE])
def cancel_job(job_id: ResourceId, context: ContextDep, actor: ActorDep) -> JobView:
    """Cancel a job. A waiting job ends at once; a running one stops after its current step."""
    cancel(context, actor, job_id)
    with context.database.reading() as session:
        return job_view(session, JobRepository(session).get(job_id))


@_router.post(
    "/{job_id}/retry",
    status_code=status.HTTP_202_ACCEPTED,
    dependencies=[OPERATE],
    responses=made_earlier(JobView),
)
def retry_job(
    job_id: ResourceId,
    response: Response,
    context: ContextDep,
    actor: ActorDep,
    once: OnceAtMostDep,
) -> JobView:
    """Submit the request of a job that has ended again, as a new job."""
    view, earlier = retry(context, actor, job_id, once)
    answer_made(response, f"/v1/jobs/{view.id}", earlier=earlier)
    return view


@_router.get("/{job_id}/log", response_class=PlainTextResponse)
def get_log(job_id: ResourceId, context: ContextDep) -> Response:
    """Read the log of a job: one line an event, oldest first."""
    with context.database.reading() as session:
        JobRepository(session).get(job_id)
        events = EventRepository(session).after(0, job_id=job_id, limit=_LOG_LINES)
    text = "".join(_line(event) for event in events)
    return PlainTextResponse(text.encode(errors="backslashreplace"))  # of half a character too


class _JobSnapshot(NamedTuple):
    body: str
    etag: str
    terminal: bool

    def is_awaited(self, known: str | None) -> bool:
        """Tell whether the job has ended or, for a client that knows some tags, has changed."""
        return self.terminal if known is None else self.etag not in known


async def _awaited(context: Context, job_id: str, wait: float, known: str | None) -> _JobSnapshot:
    """Read the job once it is what the client waits for, or after `wait` seconds."""
    deadline = time.monotonic() + wait
    async with context.notifier.listen(job_id) as listener:
        while True:
            listener.take()
            snapshot = await run_in_threadpool(_read_job, context, job_id)
            left = deadline - time.monotonic()
            if left <= 0 or snapshot.is_awaited(known):
                return snapshot
            await listener.wait(min(left, _POLL_INTERVAL))


def _read_job(context: Context, job_id: str) -> _JobSnapshot:
    with context.database.reading() as session, one_row("job", job_id):
        job = JobRepository(session).get(job_id)
        body = job_view(session, job).model_dump_json()
    return _JobSnapshot(body, etag(body.encode()), job.status in TERMINAL)


def _line(event: Event) -> str:
    words = event.data.get("message")
    if words is None:
        words = " ".join(f"{name}={value}" for name, value in event.data.items())
    return f"{event.created_at:%Y-%m-%dT%H:%M:%S.%fZ} {event.type} {words}".rstrip() + "\n"
