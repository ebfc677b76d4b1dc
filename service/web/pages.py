"""The web pages. A small script keeps them current; they are complete without it."""

from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import parse_qs, quote, urlencode

from fastapi import Depends, Query, Request, Response
from fastapi.responses import FileResponse, RedirectResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from service import formatting
from service.api import cancelling
from service.api.auth import (
    COOKIE,
    ActorDep,
    address_of,
    authenticate,
    refuse_foreign_pages,
    set_session_cookie,
)
from service.api.context import Context, ContextDep, utc_now
from service.api.threads import ServiceRouter
from service.digests import etag
from service.errors import JobStateError, NotFoundError
from service.request_errors import TooLargeError, UnauthenticatedError
from service.states import ChipHealth, ChipState, Scope
from service.web.fleet import FleetQuery, read_fleet
from service.web.job import read_job
from service.web.problems import PROBLEM_PAGES
from service.web.survey import FleetSort

_HERE = Path(__file__).parent
_ASSETS = frozenset({"tandemcal.css", "live.js", "icon.svg"})
_FORM_LIMIT = 4096  # bytes
_HEALTHS = ("", *ChipHealth, ChipState.OFFLINE)  # to choose from; empty means any
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; "
        "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Cache-Control": "no-store",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}

router = ServiceRouter(include_in_schema=False)


async def _may_read(request: Request) -> bool:
    """Return whether the request is signed in with a key that has the scope `read`."""
    try:
        return Scope.READ in (await authenticate(request)).scopes
    except UnauthenticatedError:
        return False


async def _may_operate(request: Request) -> bool:
    """Return whether the request is signed in with a key that has the scope `operate`."""
    try:
        return Scope.OPERATE in (await authenticate(request)).scopes
    except UnauthenticatedError:
        return False


async def _form(request: Request) -> dict[str, str]:
    """Read the fields of a short form. Raises TooLargeError."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > _FORM_LIMIT:
            raise TooLargeError(_FORM_LIMIT)
    fields = parse_qs(body.decode("utf-8", "replace"))
    return {name: values[0] for name, values in fields.items()}


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
Reader = Annotated[bool, Depends(_may_read)]
Operator = Annotated[bool, Depends(_may_operate)]
Form = Annotated[dict[str, str], Depends(_form)]


@router.get("/")
def fleet(
    request: Request,
    context: ContextDep,
    reader: Reader,
    query: Asked,
) -> Response:
    """Show the fleet page: health of all chips, and the newest jobs."""
    if not reader:
        return _to_login(request)
    shown = _fleet(context, query) | {"query": query, "healths": _HEALTHS, "sorts": [*FleetSort]}
    return _page("fleet.html", **shown, live=_address("/fragments/fleet", query))


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
    return _fragment(request, "fleet_live.html", _fleet(context, query))


@router.get("/jobs/{job_id}")
def job(request: Request, context: ContextDep, reader: Reader, job_id: str) -> Response:
    """Show the job page: progress and result of one job."""
    if not reader:
        return _to_login(request)
    try:
        shown = _job(context, job_id)
    except NotFoundError as error:
        return _page("problem.html", status=404, title="Not found", detail=str(error))
    return _page("job.html", **shown, live=f"/fragments/jobs/{job_id}")


@router.get("/fragments/jobs/{job_id}")
def job_fragment(request: Request, context: ContextDep, reader: Reader, job_id: str) -> Response:
    """Return the live part of the job page; 304 if it has not changed."""
    if not reader:
        return Response(status_code=401)
    return _fragment(request, "job_live.html", _job(context, job_id))


@router.post("/jobs/{job_id}/cancel")
def cancel(context: ContextDep, operator: Operator, actor: ActorDep, job_id: str) -> Response:
    """Cancel a job, then show its page again."""
    if not operator:
        detail = "Cancelling a job needs a key with the scope 'operate'; sign in with such a key."
        return _page("problem.html", status=403, title="Not allowed", detail=detail)
    try:
        # A job may have ended before the button was pressed; its page shows how.
        with suppress(JobStateError):
            cancelling.cancel(context, actor, job_id)
    except NotFoundError as error:
        return _page("problem.html", status=404, title="Not found", detail=str(error))
    return RedirectResponse(f"/jobs/{job_id}", status_code=303)


@router.get("/login")
def login_page(context: ContextDep, next: str = "/") -> Response:
    """Show the form to sign in."""
    return _login(context, next, failed=False)


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
        return _login(context, target, failed=True)
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
def problems() -> Response:
    """List the types of problems, as the field `type` of an answer names them."""
    return _page("problem_types.html", pages=PROBLEM_PAGES)


@router.get("/problems/{slug}")
def problem_type(slug: str) -> Response:
    """Show what a type of problem means and what to do. It needs no key."""
    if slug not in PROBLEM_PAGES:
        detail = "There is no problem of this type; /problems/ lists them."
        return _page("problem.html", status=404, title="Not found", detail=detail)
    return _page("problem_type.html", slug=slug, page=PROBLEM_PAGES[slug])


@router.get("/static/{name}")
def static(name: str) -> Response:
    """Serve style, script and icon. They need no key, because the login page uses them."""
    if name not in _ASSETS:
        return Response(status_code=404)
    return FileResponse(_HERE / "static" / name, headers={"Cache-Control": "no-cache"})


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


def _page(template: str, *, status: int = 200, **shown: Any) -> Response:
    return _html(_render(template, shown), status)


def _fragment(request: Request, template: str, shown: dict[str, Any]) -> Response:
    """Render a live part; answer 304 if it equals the one that the browser has."""
    text = _render(template, shown)
    tag = etag(text)
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers={"ETag": tag})
    answer = _html(text, 200)
    answer.headers["ETag"] = tag
    return answer


def _login(context: Context, target: str, *, failed: bool) -> Response:
    path = context.settings.key_file
    shown = {"failed": failed, "next": target, "key_file": path if path.exists() else None}
    return _page("login.html", status=401 if failed else 200, **shown)


def _to_login(request: Request) -> Response:
    target = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    return RedirectResponse(f"/login?next={quote(target)}", status_code=303)


def _own(target: str) -> str:
    """Return the target if it is a path of this service, else the start page."""
    inside = target.startswith("/") and not target.startswith(("//", "/\\"))
    return target if inside else "/"


def _address(path: str, query: FleetQuery) -> str:
    usual = FleetQuery()._asdict()
    given = {name: value for name, value in query._asdict().items() if value != usual[name]}
    return f"{path}?{urlencode(given)}" if given else path


def _html(text: bytes, status: int) -> Response:
    return Response(text, status, _HEADERS, media_type="text/html; charset=utf-8")


def _render(template: str, shown: dict[str, Any]) -> bytes:
    text = _environment.get_template(template).render(shown)
    return text.encode(errors="backslashreplace")  # a row may hold half a character


def _make_environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    environment.filters |= {
        "percent": formatting.percent,
        "amount": formatting.amount,
        "seconds": formatting.seconds,
        "ago": formatting.ago,
        "instant": formatting.instant,
    }
    return environment


_environment = _make_environment()
