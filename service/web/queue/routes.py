"""The queue page: what comes next, who runs it, and what is planned."""

from datetime import timedelta
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import Depends, Query, Request, Response

from service.api.context import Context, ContextDep
from service.api.threads import ServiceRouter
from service.db.session import clock
from service.web.access import Reader, to_login
from service.web.queue.page import QueueQuery, read_queue
from service.web.rendering import show, show_part

router = ServiceRouter(include_in_schema=False)


async def _asked(
    waiting: Annotated[str | None, Query(max_length=200)] = None,
    planned: Annotated[int, Query(ge=1, le=10**6)] = 1,
) -> QueueQuery:
    """Read which parts of the lists the address asks for."""
    return QueueQuery(waiting, planned)


Asked = Annotated[QueueQuery, Depends(_asked)]


@router.get("/queue")
def queue(request: Request, context: ContextDep, reader: Reader, query: Asked) -> Response:
    """Show the queue page: jobs that run and wait, workers, and what is planned."""
    if not reader:
        return to_login(request)
    live = _address("/fragments/queue", query)
    return show(request, "queue.html", **_queue(context, query), live=live)


@router.get("/fragments/queue")
def queue_fragment(request: Request, context: ContextDep, reader: Reader, query: Asked) -> Response:
    """Return the live part of the queue page; 304 if it has not changed."""
    if not reader:
        return Response(status_code=401)
    return show_part(request, "queue_live.html", _queue(context, query))


def _queue(context: Context, query: QueueQuery) -> dict[str, Any]:
    silence = timedelta(seconds=context.settings.executor_silence_s)
    with context.database.reading() as session:
        now = clock(session)  # that of the heartbeats
        found = read_queue(session, query, context.kinds, silence, now)
    return {
        "queue": found,
        "now": now,
        "first_waiting": _address("/queue", query._replace(waiting=None)) if query.waiting else "",
        "more_waiting": _address("/queue", query._replace(waiting=found.next_waiting)),
        "more_planned": found.next_planned
        and _address("/queue", query._replace(planned=found.next_planned)),
        "first_planned": _address("/queue", query._replace(planned=1)) if query.planned > 1 else "",
    }


def _address(path: str, query: QueueQuery) -> str:
    usual = QueueQuery()._asdict()
    given = {name: value for name, value in query._asdict().items() if value != usual[name]}
    return f"{path}?{urlencode(given)}" if given else path
