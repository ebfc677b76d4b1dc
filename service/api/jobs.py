"""Jobs: submit, list, read, wait for, cancel and retry them; read their logs."""

from enum import StrEnum
from typing import Annotated, Any

from fastapi import APIRouter, Body, Query, Response, status
from fastapi.responses import PlainTextResponse

from service.api import batch_cancelling, job_status
from service.api.auth import OPERATE, READ, ActorDep
from service.api.cancelling import cancel
from service.api.context import ContextDep, PageDep
from service.api.idempotency import (
    OnceAtMostDep,
    answer_made,
    made_earlier,
)
from service.api.lists import list_page
from service.api.names import id_in
from service.api.retrying import retry
from service.api.submissions import Submitting
from service.api.threads import ServiceRouter
from service.api.views import job_view, job_viewer
from service.db.repositories.events import EventRepository
from service.db.repositories.job_conditions import JobFilter
from service.db.repositories.jobs import JobRepository
from service.db.tables import Event
from service.jobs.kinds.registry import JobKinds
from service.schemas.base import NAME_MAX, Page, ResourceId
from service.schemas.jobs import JobView
from service.states import JobStatus

_router = ServiceRouter()
_LOG_LINES = 100_000


def make_router(kinds: JobKinds) -> APIRouter:
    """Make the routes of jobs; the registry says which bodies and names of kinds they take."""
    router = ServiceRouter(prefix="/v1/jobs", tags=["jobs"], dependencies=[READ])
    _add_submit_job(router, kinds.bodies())
    _add_list_jobs(router, kinds.names())
    router.include_router(job_status.router)
    router.include_router(batch_cancelling.router)
    router.include_router(_router)
    return router


def _add_submit_job(router: APIRouter, bodies: Any) -> None:
    @router.post(
        "",
        status_code=status.HTTP_202_ACCEPTED,
        dependencies=[OPERATE],
        responses=made_earlier(JobView),
    )
    async def submit_job(
        body: Annotated[bodies, Body()],  # a type that is made with the service
        response: Response,
        context: ContextDep,
        actor: ActorDep,
        once: OnceAtMostDep,
    ) -> JobView:
        """Queue a job. The same Idempotency-Key with the same body returns the same job."""
        made = await context.submissions.add(Submitting(body, once, actor))
        answer_made(response, f"/v1/jobs/{made.view.id}", earlier=made.earlier)
        return made.view


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


def _line(event: Event) -> str:
    words = event.data.get("message")
    if words is None:
        words = " ".join(f"{name}={value}" for name, value in event.data.items())
    return f"{event.created_at:%Y-%m-%dT%H:%M:%S.%fZ} {event.type} {words}".rstrip() + "\n"
