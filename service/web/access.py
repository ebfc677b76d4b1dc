"""Who may see a page or press its buttons, and what the others are told."""

from typing import Annotated
from urllib.parse import parse_qs, quote

from fastapi import Depends, Request, Response
from fastapi.responses import RedirectResponse

from service.api.auth import scopes_of
from service.request_errors import TooLargeError
from service.states import Scope
from service.web.rendering import show_problem
from service.web.viewer import has_ended

_FORM_LIMIT = 4096  # bytes


async def _may_read(request: Request) -> bool:
    """Return whether the request is signed in with a key that has the scope `read`."""
    return Scope.READ in scopes_of(request)


async def _may_operate(request: Request) -> bool:
    """Return whether the request is signed in with a key that has the scope `operate`."""
    return Scope.OPERATE in scopes_of(request)


async def _form(request: Request) -> dict[str, list[str]]:
    """Read the fields of a short form. Raises TooLargeError."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > _FORM_LIMIT:
            raise TooLargeError(_FORM_LIMIT)
    return parse_qs(body.decode("utf-8", "replace"))


async def _first_fields(form: Annotated[dict[str, list[str]], Depends(_form)]) -> dict[str, str]:
    return {name: values[0] for name, values in form.items()}


Reader = Annotated[bool, Depends(_may_read)]
Operator = Annotated[bool, Depends(_may_operate)]
Form = Annotated[dict[str, str], Depends(_first_fields)]  # the first value of each field
Fields = Annotated[dict[str, list[str]], Depends(_form)]  # all values of each field


def to_login(request: Request) -> Response:
    """Lead to the form to sign in, and from there back to what was asked for.

    The form says so where a session has ended.
    """
    target = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    ended = "&ended=1" if has_ended(request) else ""
    return RedirectResponse(f"/login?next={quote(target)}{ended}", status_code=303)


def not_allowed(request: Request, detail: str) -> Response:
    """Answer that the key has not the scope that is needed; `detail` says what to do."""
    return show_problem(request, 403, "Not allowed", detail)


def unless_admin(request: Request) -> Response | None:
    """Answer whoever may not see a page of administration; None for a key that may."""
    scopes = scopes_of(request)
    if Scope.ADMIN in scopes:
        return None
    if not scopes:
        return to_login(request)
    detail = "This page needs a key with the scope 'admin'; sign in with such a key."
    return not_allowed(request, detail)
