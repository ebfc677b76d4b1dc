"""Events of a job, streamed while they happen (server-sent events)."""

import time
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, suppress
from typing import Annotated, NamedTuple

from fastapi import Header, Query, Request, Response, status
from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool

from service.api.auth import READ, find_principal
from service.api.context import Context, ContextDep, Responses
from service.api.event_messages import Message, messages_of
from service.api.notifier import Listener
from service.api.threads import ServiceRouter
from service.db.outage import AWAY
from service.db.repositories.events import EventRepository
from service.db.repositories.jobs import JobRepository
from service.request_errors import UnauthenticatedError
from service.schemas.base import SEQ_MAX, ResourceId
from service.states import TERMINAL

router = ServiceRouter(prefix="/v1/jobs", tags=["jobs"], dependencies=[READ])
KEEPALIVE = 8.0  # s; looked at every RECHECK s, so that no stream is silent for more than 15 s
RECHECK = 5.0  # s after which a stream asks whether its key is still valid
_BATCH = 200  # events that are read at a time
_HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
_STREAM: Responses = {
    200: {"content": {"text/event-stream": {}}, "description": "One `EventView` an event"},
    204: {"description": "The job has ended and all its events have been sent: do not reconnect"},
}


@router.get("/{job_id}/events", response_class=StreamingResponse, responses=_STREAM)
async def follow_job(
    job_id: ResourceId,
    request: Request,
    context: ContextDep,
    after: Annotated[int, Query(ge=0, le=SEQ_MAX)] = 0,
    last_event_id: Annotated[int | None, Header(ge=0, le=SEQ_MAX)] = None,
) -> Response:
    """Stream the events of a job after number `Last-Event-ID` or `after`, until `job.ended`.

    The stream ends when its key does. Something is sent at least every 15 s.
    """
    seq = after if last_event_id is None else last_event_id
    first = await run_in_threadpool(_read, context, job_id, seq)
    if first.over and not first.messages:
        return Response(status_code=status.HTTP_204_NO_CONTENT)
    stream = _stream(request, context, job_id, seq)
    return StreamingResponse(stream, media_type="text/event-stream", headers=_HEADERS)


async def _stream(request: Request, context: Context, job_id: str, seq: int) -> AsyncIterator[str]:
    yield "retry: 1000\n\n"
    sent = checked = time.monotonic()
    async with aclosing(_messages(context, job_id, seq)) as messages:
        async for message in messages:
            if message is not None or time.monotonic() - sent >= KEEPALIVE:
                yield message.text if message is not None else ": still here\n\n"
                sent = time.monotonic()
            if time.monotonic() - checked >= RECHECK:
                if not await _is_allowed(request, context):
                    return
                checked = time.monotonic()


class _Batch(NamedTuple):
    """The next events of a job."""

    messages: Sequence[Message] = ()
    stored: bool = False  # whether the database may have more of them
    over: bool = False  # whether the job has ended, and these are the last
    last: int = 0  # number of the last event that was read, also of one that is damaged


async def _messages(
    context: Context, job_id: str, seq: int
) -> AsyncGenerator[Message | None, None]:
    """Yield each event of a job once, in order, until the job ends; None while nothing happens.

    It listens before it reads what is stored: an event is in the database, or will be heard.
    """
    batch = _Batch(stored=True)
    async with context.notifier.listen(job_id) as listener:
        while not batch.over:
            if batch.stored:
                listener.take()  # the database has it
                batch = await run_in_threadpool(_read, context, job_id, seq)
            else:
                batch = await _heard(listener, seq)
            for message in batch.messages:
                yield message
            seq = max(seq, batch.last)
            if not batch.messages:
                yield None


async def _heard(listener: Listener, seq: int) -> _Batch:
    """Wait a while for events above `seq`."""
    await listener.wait(min(KEEPALIVE, RECHECK))
    if listener.missed:
        return _Batch(stored=True)
    messages = [message for message in listener.take() if message.seq > seq]
    last = messages[-1].seq if messages else seq
    return _Batch(messages, over=any(message.ends_job for message in messages), last=last)


async def _is_allowed(request: Request, context: Context) -> bool:
    """Tell whether the key of a request is still valid; yes while the database does not answer."""
    with suppress(*AWAY):
        try:
            await find_principal(request, context)
        except UnauthenticatedError:
            return False
    return True


def _read(context: Context, job_id: str, seq: int) -> _Batch:
    """Read stored events above `seq`. Raises JobNotFoundError."""
    with context.database.reading() as session:
        terminal = JobRepository(session).get(job_id).status in TERMINAL
        found = EventRepository(session).batch_after(seq, job_id=job_id, limit=_BATCH)
        messages = messages_of(found.rows)
    over = (terminal and not found.is_full) or any(message.ends_job for message in messages)
    return _Batch(messages, stored=found.is_full, over=over, last=found.last)
