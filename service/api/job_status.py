"""The status of a job: the request that is sent most often."""

import time
from collections.abc import Callable, Coroutine
from typing import Annotated, Any

from fastapi import Header, Query, Request, Response, status

from service.api.auth import authenticate, check_scope
from service.api.conditional import HEADER_MAX
from service.api.context import Context, ContextDep, Responses
from service.api.snapshots import JobSnapshot
from service.api.threads import ChangingRoute, ServiceRouter
from service.schemas.base import ResourceId
from service.schemas.jobs import JobView
from service.states import Scope

router = ServiceRouter()
_NOT_MODIFIED: Responses = {304: {"description": "The job has not changed"}}
_POLL_INTERVAL = 1.0  # s; a few changes, such as waiting for a chip, write no event
_ID_MAX = 36  # characters, of `ResourceId`
Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class _StatusRoute(ChangingRoute):
    """Answers a request without parameters by itself, and all others as FastAPI does.

    FastAPI takes as long to find out what such a request depends on as all the rest takes.
    """

    def get_route_handler(self) -> Handler:
        """Return the handler of requests."""
        documented = super().get_route_handler()

        async def handle(request: Request) -> Response:
            job_id = request.path_params["job_id"]
            known = request.headers.get("if-none-match", "")
            plain = len(job_id) <= _ID_MAX and len(known) <= HEADER_MAX
            if request.scope["query_string"] or not plain:
                return await documented(request)
            check_scope(await authenticate(request), Scope.READ)
            context: Context = request.app.state.context
            return _answer(await context.jobs.add(job_id), known)

        return handle


async def get_job(
    job_id: ResourceId,
    context: ContextDep,
    wait: Annotated[float, Query(ge=0, le=60, description="seconds")] = 0,
    if_none_match: Annotated[str | None, Header(max_length=HEADER_MAX)] = None,
) -> Response:
    """Read one job. With `wait` the answer comes when the job has ended.

    With `wait` and `If-None-Match` the answer comes as soon as anything about the job changes.
    """
    if wait > 0:
        snapshot = await _awaited(context, job_id, wait, if_none_match)
    else:
        snapshot = await context.jobs.add(job_id)
    return _answer(snapshot, if_none_match or "")


router.add_api_route(
    "/{job_id}",
    get_job,
    response_model=JobView,
    responses=_NOT_MODIFIED,
    route_class_override=_StatusRoute,
)


def _answer(snapshot: JobSnapshot, known: str) -> Response:
    headers = {"ETag": snapshot.etag, "Cache-Control": "no-cache"}
    if snapshot.etag in known or known.strip() == "*":
        return Response(status_code=status.HTTP_304_NOT_MODIFIED, headers=headers)
    return Response(snapshot.body, media_type="application/json", headers=headers)


async def _awaited(context: Context, job_id: str, wait: float, known: str | None) -> JobSnapshot:
    """Read the job once it is what the client waits for, or after `wait` seconds."""
    deadline = time.monotonic() + wait
    async with context.notifier.listen(job_id) as listener:
        while True:
            listener.take()
            snapshot = await context.jobs.add(job_id)
            left = deadline - time.monotonic()
            if left <= 0 or snapshot.is_awaited(known):
                return snapshot
            await listener.wait(min(left, _POLL_INTERVAL))
