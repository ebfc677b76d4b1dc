"""Events of a job, streamed while they happen (server-sent events)."""

from collections.abc import AsyncIterator, Sequence
from typing import Annotated

from fastapi import APIRouter, Header, Query, Response, status
from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool

from service.api.auth import READ
from service.api.context import Context, ContextDep, Responses
from service.db.repositories.events import EventRepository
from service.db.repositories.jobs import JobRepository
from service.schemas.base import SEQ_MAX, ResourceId
from service.schemas.jobs import EventView
from service.states import TERMINAL

router = APIRouter(prefix="/v1/jobs", tags=["jobs"], dependencies=[READ])
_KEEPALIVE = 15.0  # s; proxies close connections that stay silent for longer
_HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
_STREAM: Responses = {
    200: {"content": {"text/event-stream": {}}, "description": "One `EventView` an event"},
    204: {"description": "The job has ended and all its events have been sent: do not reconnect"},
}


@router.get("/{job_id}/events", response_class=StreamingResponse, responses=_STREAM)
async def follow_job(
    job_id: ResourceId,
    context: ContextDep,
    after: Annotated[int, Query(ge=0, le=SEQ_MAX)] = 0,
    last_event_id: Annotated[int | None, Header(ge=0, le=SEQ_MAX)] = None,
) -> Response:
    """Stream the events of a job after number `Last-Event-ID` or `after`, until `job.ended`."""
    seq = after if last_event_id is None else last_event_id
    terminal = await run_in_threadpool(_is_terminal, context, job_id)
    if terminal and not await run_in_threadpool(_read, context, job_id, seq):
        return Response(status_code=status.HTTP_204_NO_CONTENT)
    stream = _stream(context, job_id, seq)
    return StreamingResponse(stream, media_type="text/event-stream", headers=_HEADERS)


async def _stream(context: Context, job_id: str, seq: int) -> AsyncIterator[str]:
    yield "retry: 1000\n\n"
    while True:
        events = await run_in_threadpool(_read, context, job_id, seq)
        for event in events:
            seq = event.seq
            yield _format(event)
            if event.type == "job.ended":
                return
        if not events and not await _wait(context, seq):
            yield ": still here\n\n"


async def _wait(context: Context, seq: int) -> bool:
    """Wait for an event of any job; reading the events of one job afterwards is cheap."""
    newest = await run_in_threadpool(_last, context)
    return await context.notifier.wait_past(max(seq, newest), _KEEPALIVE)


def _format(event: EventView) -> str:
    return f"id: {event.seq}\nevent: {event.type}\ndata: {event.model_dump_json()}\n\n"


def _read(context: Context, job_id: str, seq: int) -> Sequence[EventView]:
    with context.database.reading() as session:
        rows = EventRepository(session).after(seq, job_id=job_id)
        return [EventView.model_validate(row) for row in rows]


def _last(context: Context) -> int:
    with context.database.reading() as session:
        return EventRepository(session).last()


def _is_terminal(context: Context, job_id: str) -> bool:
    with context.database.reading() as session:
        return JobRepository(session).get(job_id).status in TERMINAL
