"""The status of a job: the request that is sent most often."""

import re
import time
from typing import Annotated

from fastapi import Header, Query, Request, Response, status
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Send
from starlette.types import Scope as AsgiScope

from service.api.auth import authenticate, check_scope
from service.api.conditional import HEADER_MAX
from service.api.context import Context, ContextDep, Responses
from service.api.errors import answer_to, busy
from service.api.snapshots import JobSnapshot
from service.api.threads import ServiceRouter
from service.db.outage import AWAY
from service.errors import ServiceError
from service.schemas.base import ResourceId
from service.schemas.jobs import JobView
from service.states import Scope

router = ServiceRouter()
_NOT_MODIFIED: Responses = {304: {"description": "The job has not changed"}}
_POLL_INTERVAL = 1.0  # s; a few changes, such as waiting for a chip, write no event
_STATUS = re.compile(r"/v1/jobs/([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})")


class StatusAnswers:
    """ASGI middleware that answers requests for one job without parameters; others go on.

    To find the route among all of FastAPI's, and what it depends on, takes longer than to answer.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        """Answer a request, or hand it on."""
        job_id = _plainly_asked(scope)
        if job_id is None:
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        try:
            answer = await _status(request, job_id)
        except ServiceError as error:
            answer = answer_to(request, error)
        except AWAY as error:
            answer = await busy(request, error)
        await answer(scope, receive, send)


def _plainly_asked(scope: AsgiScope) -> str | None:
    """Return the id of the job whose status is asked for; None if anything else is asked."""
    if scope["type"] != "http" or scope["method"] != "GET" or scope["query_string"]:
        return None
    found = _STATUS.fullmatch(scope["path"])
    return found[1] if found and len(_known_tags(scope)) <= HEADER_MAX else None


def _known_tags(scope: AsgiScope) -> str:
    return Headers(scope=scope).get("if-none-match", "")


async def _status(request: Request, job_id: str) -> Response:
    """Answer a request for a job. Raises what the gate and the reader of jobs raise."""
    check_scope(await authenticate(request), Scope.READ)
    context: Context = request.app.state.context
    snapshot = await context.jobs.add(job_id)
    return _answer(snapshot, _known_tags(request.scope))


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
