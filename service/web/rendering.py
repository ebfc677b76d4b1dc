"""Pages as answers: templates, headers, and live parts that are sent only if they have changed."""

from pathlib import Path
from typing import Any

from fastapi import Request, Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from service import formatting
from service.digests import etag
from service.schemas.resources import Problem
from service.web.compression import compressed
from service.web.navigation import navigation
from service.web.parts import CHANGES, SentParts, changes
from service.web.viewer import viewer_of

_TEMPLATES = Path(__file__).parent / "templates"
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; "
        "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Cache-Control": "no-store",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}


def show(request: Request, template: str, *, status: int = 200, **shown: Any) -> Response:
    """Answer with a whole page; its header has the navigation of whoever asks.

    The template also gets `viewer`, and shows the buttons that this one may press.
    """
    seen_by = {"navigation": navigation(request), "viewer": viewer_of(request)}
    return compressed(request, _html(_render(template, shown | seen_by), status))


def show_part(request: Request, template: str, shown: dict[str, Any]) -> Response:
    """Answer with a live part; 304 if it equals the one that the browser has.

    A browser that takes changes is sent the lines that differ from what it has.
    """
    text = _render(template, shown | {"viewer": viewer_of(request)})
    tag, known = etag(text), request.headers.get("if-none-match", "")
    if known == tag:
        return Response(status_code=304, headers={"ETag": tag})
    sent: SentParts = request.app.state.sent_parts
    takes_changes = CHANGES in request.headers.get("accept", "")
    before = sent.find(known) if takes_changes and known else None
    if takes_changes:
        sent.keep(tag, text)
    if before is None:
        answer = _html(text, 200)
    else:
        answer = Response(changes(before, text), headers=_HEADERS, media_type=CHANGES)
    answer.headers["ETag"] = tag
    return compressed(request, answer)


def show_problem(request: Request, status: int, title: str, detail: str) -> Response:
    """Answer with a page that says why there is nothing else to show."""
    return show(request, "problem.html", status=status, title=title, detail=detail)


def show_error(request: Request, problem: Problem) -> Response:
    """Answer with an error of any route as a page."""
    return show_problem(request, problem.status, problem.title, problem.detail)


def _html(text: bytes, status: int) -> Response:
    return Response(text, status, _HEADERS, media_type="text/html; charset=utf-8")


def _render(template: str, shown: dict[str, Any]) -> bytes:
    text = _environment.get_template(template).render(shown)
    return text.encode(errors="backslashreplace")  # a row may hold half a character


def _make_environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    environment.filters |= {
        "percent": formatting.percent,
        "amount": formatting.amount,
        "large": formatting.large,
        "seconds": formatting.seconds,
        "minutes": formatting.minutes,
        "ago": formatting.ago,
        "ahead": formatting.ahead,
        "instant": formatting.instant,
    }
    return environment


_environment = _make_environment()
