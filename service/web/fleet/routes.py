"""Routes of the fleet page, and of the strip of all chips."""

from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import Depends, Query, Request, Response
from fastapi.responses import JSONResponse

from service.api.context import Context, ContextDep, utc_now
from service.api.threads import ServiceRouter
from service.states import ChipHealth, ChipState
from service.web.access import Reader, to_login
from service.web.compression import compressed
from service.web.fleet.page import FleetQuery, found_chips, read_fleet
from service.web.fleet.survey import FleetSort
from service.web.rendering import show, show_part

_HEALTHS = ("", *ChipHealth, ChipState.OFFLINE)  # to choose from; empty means any

router = ServiceRouter(include_in_schema=False)


def _asked(
    q: Annotated[str, Query(max_length=200)] = "",
    health: Annotated[str, Query(max_length=20)] = "",
    sort: FleetSort = FleetSort.WORST,
    page: Annotated[int, Query(ge=1, le=10**6)] = 1,
    jobs: str | None = None,
) -> FleetQuery:
    """Read which chips and jobs the address asks for."""
    return FleetQuery(q, health, sort, page, jobs)


Asked = Annotated[FleetQuery, Depends(_asked)]


@router.get("/")
def fleet(request: Request, context: ContextDep, reader: Reader, query: Asked) -> Response:
    """Show the fleet page: health of all chips, and the newest jobs."""
    if not reader:
        return to_login(request)
    shown = _fleet(context, query) | {"query": query, "healths": _HEALTHS, "sorts": [*FleetSort]}
    return show(request, "fleet.html", **shown, live=_address("/fragments/fleet", query))


@router.get("/fragments/fleet")
def fleet_fragment(request: Request, context: ContextDep, reader: Reader, query: Asked) -> Response:
    """Return the live part of the fleet page; 304 if it has not changed."""
    if not reader:
        return Response(status_code=401)
    return show_part(request, "fleet_live.html", _fleet(context, query))


@router.get("/fragments/strip")
def strip_fragment(request: Request, context: ContextDep, reader: Reader, query: Asked) -> Response:
    """Return name and health of all chips of the strip, in the order of its cells."""
    if not reader:
        return Response(status_code=401)
    with context.database.reading() as session:
        found = found_chips(session, query, utc_now())
    return compressed(request, JSONResponse([[chip.name, chip.health] for chip in found]))


def _fleet(context: Context, query: FleetQuery) -> dict[str, Any]:
    now = utc_now()
    with context.database.reading() as session:
        shown = read_fleet(session, query, context.kinds, now)
    return {
        "fleet": shown,
        "now": now,
        "strip_address": _address("/fragments/strip", query),
        "more_chips": shown.next_page and _address("/", query._replace(page=shown.next_page)),
        "older_jobs": _address("/", query._replace(jobs=shown.jobs_cursor)),
    }


def _address(path: str, query: FleetQuery) -> str:
    usual = FleetQuery()._asdict()
    given = {name: value for name, value in query._asdict().items() if value != usual[name]}
    return f"{path}?{urlencode(given)}" if given else path
