"""Conditional requests (RFC 9110): 304 for what a client has already, 412 for what has changed."""

from collections.abc import Callable, Coroutine
from typing import Annotated, Any

from fastapi import Header, Request, Response, status
from fastapi.exceptions import RequestValidationError

from service.digests import etag
from service.request_errors import PreconditionFailedError
from service.schemas.base import View

_KEPT = ("ETag", "Cache-Control")  # of an answer, where 304 takes its place
HEADER_MAX = 1000  # characters of a list of tags
IfMatch = Annotated[str | None, Header(max_length=HEADER_MAX)]
Handler = Callable[[Request], Coroutine[Any, Any, Response]]


def tagged(view: View) -> Response:
    """Answer with a view and its ETag, which `require_match` computes in the same way."""
    body = view.model_dump_json().encode()
    return Response(body, media_type="application/json", headers={"ETag": etag(body)})


def require_match(if_match: str | None, view: View | None) -> None:
    """Raise PreconditionFailedError unless the resource is as the client knows it.

    `view` is None where there is no resource. The caller holds a lock on its row: of two changes
    with the same tag one is refused.
    """
    if if_match is None:
        return
    current = None if view is None else etag(view.model_dump_json().encode())
    if current is None or (if_match.strip() != "*" and current not in _tags(if_match)):
        raise PreconditionFailedError(current)


def answered_once(handle: Handler) -> Handler:
    """Return a handler that answers a GET of the API with its ETag, and 304 where it is known."""

    async def handle_tagged(request: Request) -> Response:
        known = request.headers.get("if-none-match", "")
        if len(known) > HEADER_MAX and request.url.path.startswith("/v1/"):
            raise RequestValidationError([_too_long(known)])
        response = await handle(request)
        is_whole = response.status_code == status.HTTP_200_OK and hasattr(response, "body")
        if not is_whole or not request.url.path.startswith("/v1/"):
            return response
        tag = response.headers.setdefault("ETag", etag(bytes(response.body)))
        if known.strip() != "*" and tag not in [one.removeprefix("W/") for one in _tags(known)]:
            return response
        kept = {name: response.headers[name] for name in _KEPT if name in response.headers}
        return Response(status_code=status.HTTP_304_NOT_MODIFIED, headers=kept)

    return handle_tagged


def _too_long(known: str) -> dict[str, Any]:
    """Return what is wrong with `If-None-Match`, as a route says it of a header that it reads."""
    return {
        "type": "string_too_long",
        "loc": ("header", "if-none-match"),
        "msg": f"String should have at most {HEADER_MAX} characters",
        "input": known,
        "ctx": {"max_length": HEADER_MAX},
    }


def _tags(header: str) -> list[str]:
    return [one.strip() for one in header.split(",")]
