"""The web pages. A small script keeps them current; they are complete without it."""

from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import Depends, Query, Request, Response
from fastapi.responses import FileResponse, JSONResponse

from service.api.context import Context, ContextDep, utc_now
from service.api.threads import ServiceRouter
from service.states import ChipHealth, ChipState
from service.web import job_routes, sign_in
from service.web.access import Reader, to_login
from service.web.compression import compressed
from service.web.fleet import FleetQuery, found_chips, read_fleet
from service.web.problems import PROBLEM_PAGES
from service.web.rendering import show, show_part, show_problem
from service.web.survey import FleetSort

_STATIC = Path(__file__).parent / "static"
_ASSETS = frozenset({"tandemcal.css", "live.js", "plots.js", "strip.js", "icon.svg"})
_HEALTHS = ("", *ChipHealth, ChipState.OFFLINE)  # to choose from; empty means any

router = ServiceRouter(include_in_schema=False)
router.include_router(job_routes.router)
router.include_router(sign_in.router)


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


@router.get("/problems/")
def problems(request: Request) -> Response:
    """List the types of problems, as the field `type` of an answer names them."""
    return show(request, "problem_types.html", pages=PROBLEM_PAGES)


@router.get("/problems/{slug}")
def problem_type(request: Request, slug: str) -> Response:
    """Show what a type of problem means and what to do. It needs no key."""
    if slug not in PROBLEM_PAGES:
        detail = "There is no problem of this type; /problems/ lists them."
        return show_problem(request, 404, "Not found", detail)
    return show(request, "problem_type.html", slug=slug, page=PROBLEM_PAGES[slug])


@router.get("/static/{name}")
def static(name: str) -> Response:
    """Serve style, script and icon. They need no key, because the login page uses them."""
    if name not in _ASSETS:
        return Response(status_code=404)
    return FileResponse(_STATIC / name, headers={"Cache-Control": "no-cache"})


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
