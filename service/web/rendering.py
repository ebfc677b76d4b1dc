"""Pages as answers: templates, headers, and live parts that are sent only if they have changed."""

from pathlib import Path
from typing import Any

from fastapi import Request, Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from service import formatting
from service.digests import etag
from service.web.navigation import navigation

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
    """Answer with a whole page; its header has the navigation of whoever asks."""
    return _html(_render(template, shown | {"navigation": navigation(request)}), status)


def show_part(request: Request, template: str, shown: dict[str, Any]) -> Response:
    """Answer with a live part; 304 if it equals the one that the browser has."""
    text = _render(template, shown)
    tag = etag(text)
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers={"ETag": tag})
    answer = _html(text, 200)
    answer.headers["ETag"] = tag
    return answer


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
        "seconds": formatting.seconds,
        "ago": formatting.ago,
        "instant": formatting.instant,
    }
    return environment


_environment = _make_environment()
