"""The audit page: who did what, for keys with the scope `admin`."""

from datetime import UTC, datetime
from typing import Annotated
from urllib.parse import urlencode

from fastapi import Depends, Query, Request, Response

from service.api.context import ContextDep, utc_now
from service.api.threads import ServiceRouter
from service.request_errors import ParameterError
from service.web.access import unless_admin
from service.web.audit.trail import TrailQuery, read_trail
from service.web.rendering import show

router = ServiceRouter(include_in_schema=False)
_Word = Annotated[str, Query(max_length=200)]
_Time = Annotated[str, Query(max_length=40)]  # empty where the form was sent without a time


async def _asked(
    key: _Word = "",
    action: _Word = "",
    since: _Time = "",
    until: _Time = "",
    cursor: Annotated[str | None, Query(max_length=200)] = None,
) -> TrailQuery:
    """Read which events the address asks for. Raises ParameterError."""
    return TrailQuery(
        key.strip(), action.strip(), _time("since", since), _time("until", until), cursor
    )


Asked = Annotated[TrailQuery, Depends(_asked)]


@router.get("/audit")
def audit(request: Request, context: ContextDep, query: Asked) -> Response:
    """Show who did what, newest first, and whether the trail is whole."""
    if refused := unless_admin(request):
        return refused
    with context.database.reading() as session:
        found = read_trail(session, query)
    return show(
        request,
        "audit.html",
        trail=found,
        query=query,
        now=utc_now(),
        filtered=query._replace(cursor=None) != TrailQuery(),
        newest=_address(query._replace(cursor=None)) if query.cursor else "",
        older=found.next_cursor and _address(query._replace(cursor=found.next_cursor)),
    )


def _time(name: str, text: str) -> datetime | None:
    """Read a time; one without a zone is in UTC, as the form says. Raises ParameterError."""
    if not text.strip():
        return None
    try:
        found = datetime.fromisoformat(text.strip())
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        message = "this is no time; write it as 2026-01-31T15:30, in UTC"
        raise ParameterError(name, message) from None


def _address(query: TrailQuery) -> str:
    times = {name: at.isoformat() for name in ("since", "until") if (at := getattr(query, name))}
    given = {name: value for name, value in query._asdict().items() if value} | times
    return f"/audit?{urlencode(given)}" if given else "/audit"
