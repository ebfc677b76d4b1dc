"""The web pages. A small script keeps them current; they are complete without it."""

from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import Depends, Query, Request, Response
from fastapi.responses import FileResponse, RedirectResponse

from service.api import cancelling
from service.api.auth import (
    COOKIE,
    ActorDep,
    address_of,
    refuse_foreign_pages,
    set_session_cookie,
)
from service.api.context import Context, ContextDep, utc_now
from service.api.threads import ServiceRouter
from service.errors import JobStateError, NotFoundError
from service.request_errors import UnauthenticatedError
from service.states import ChipHealth, ChipState
from service.web.access import Form, Operator, Reader, not_allowed, to_login
from service.web.fleet import FleetQuery, read_fleet
from service.web.job import read_job
from service.web.problems import PROBLEM_PAGES
from service.web.rendering import show, show_part
from service.web.survey import FleetSort

_STATIC = Path(__file__).parent / "static"
_ASSETS = frozenset({"tandemcal.css", "live.js", "icon.svg"})
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
def fleet(
    request: Request,
    context: ContextDep,
    reader: Reader,
    query: Asked,
) -> Response:
    """Show the fleet page: health of all chips, and the newest jobs."""
    if not reader:
        return to_login(request)
    shown = _fleet(context, query) | {"query": query, "healths": _HEALTHS, "sorts": [*FleetSort]}
    return show(request, "fleet.html", **shown, live=_address("/fragments/fleet", query))


@router.get("/fragments/fleet")
def fleet_fragment(
    request: Request,
    context: ContextDep,
    reader: Reader,
    query: Asked,
) -> Response:
    """Return the live part of the fleet page; 304 if it has not changed."""
    if not reader:
        return Response(status_code=401)
    return show_part(request, "fleet_live.html", _fleet(context, query))


@router.get("/jobs/{job_id}")
def job(request: Request, context: ContextDep, reader: Reader, job_id: str) -> Response:
    """Show the job page: progress and result of one job."""
    if not reader:
        return to_login(request)
    try:
        shown = _job(context, job_id)
    except NotFoundError as error:
        return show(request, "problem.html", status=404, title="Not found", detail=str(error))
    return show(request, "job.html", **shown, live=f"/fragments/jobs/{job_id}")


@router.get("/fragments/jobs/{job_id}")
def job_fragment(request: Request, context: ContextDep, reader: Reader, job_id: str) -> Response:
    """Return the live part of the job page; 304 if it has not changed."""
    if not reader:
        return Response(status_code=401)
    return show_part(request, "job_live.html", _job(context, job_id))


@router.post("/jobs/{job_id}/cancel")
def cancel(
    request: Request, context: ContextDep, operator: Operator, actor: ActorDep, job_id: str
) -> Response:
    """Cancel a job, then show its page again."""
    if not operator:
        detail = "Cancelling a job needs a key with the scope 'operate'; sign in with such a key."
        return not_allowed(request, detail)
    try:
        # A job may have ended before the button was pressed; its page shows how.
        with suppress(JobStateError):
            cancelling.cancel(context, actor, job_id)
    except NotFoundError as error:
        return show(request, "problem.html", status=404, title="Not found", detail=str(error))
    return RedirectResponse(f"/jobs/{job_id}", status_code=303)


@router.get("/login")
def login_page(request: Request, context: ContextDep, next: str = "/") -> Response:
    """Show the form to sign in."""
    return _login(request, context, next, failed=False)


@router.post("/login")
def login(request: Request, context: ContextDep, form: Form) -> Response:
    """Sign in with a key: the answer sets the session cookie."""
    refuse_foreign_pages(request)
    target = form.get("next", "/")
    try:
        token = context.credentials.log_in(
            form.get("key", "").strip(), utc_now(), address_of(request)
        )
    except UnauthenticatedError:
        return _login(request, context, target, failed=True)
    answer = RedirectResponse(_own(target), status_code=303)
    set_session_cookie(request, answer, token, context.settings.session_days)
    return answer


@router.post("/logout")
def logout(request: Request, context: ContextDep) -> Response:
    """Sign out: end the browser session."""
    refuse_foreign_pages(request)
    if token := request.cookies.get(COOKIE):
        context.credentials.log_out(token, utc_now(), address_of(request))
    answer = RedirectResponse("/login", status_code=303)
    answer.delete_cookie(COOKIE)
    return answer


@router.get("/problems/")
def problems(request: Request) -> Response:
    """List the types of problems, as the field `type` of an answer names them."""
    return show(request, "problem_types.html", pages=PROBLEM_PAGES)


@router.get("/problems/{slug}")
def problem_type(request: Request, slug: str) -> Response:
    """Show what a type of problem means and what to do. It needs no key."""
    if slug not in PROBLEM_PAGES:
        detail = "There is no problem of this type; /problems/ lists them."
        return show(request, "problem.html", status=404, title="Not found", detail=detail)
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
        "more_chips": shown.next_page and _address("/", query._replace(page=shown.next_page)),
        "older_jobs": _address("/", query._replace(jobs=shown.jobs_cursor)),
    }


def _job(context: Context, job_id: str) -> dict[str, Any]:
    now = utc_now()
    with context.database.reading() as session:
        return {"page": read_job(session, job_id, context.kinds, now), "now": now}


def _login(request: Request, context: Context, target: str, *, failed: bool) -> Response:
    path = context.settings.key_file
    shown = {"failed": failed, "next": target, "key_file": path if path.exists() else None}
    return show(request, "login.html", status=401 if failed else 200, **shown)


def _own(target: str) -> str:
    """Return the target if it is a path of this service, else the start page."""
    inside = target.startswith("/") and not target.startswith(("//", "/\\"))
    return target if inside else "/"


def _address(path: str, query: FleetQuery) -> str:
    usual = FleetQuery()._asdict()
    given = {name: value for name, value in query._asdict().items() if value != usual[name]}
    return f"{path}?{urlencode(given)}" if given else path
