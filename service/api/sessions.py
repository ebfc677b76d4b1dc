"""Browser sessions: log in with a key, log out."""

from typing import Annotated

from fastapi import Body, Request, Response, status
from pydantic import Field

from service.api.auth import COOKIE, address_of, refuse_foreign_pages, set_session_cookie
from service.api.context import ContextDep, utc_now
from service.api.threads import ServiceRouter

router = ServiceRouter(prefix="/v1/session", tags=["session"])


@router.post("", status_code=status.HTTP_204_NO_CONTENT)
def open_session(
    key: Annotated[str, Body(embed=True), Field(max_length=200)],
    request: Request,
    response: Response,
    context: ContextDep,
) -> None:
    """Log a browser in with an API key: the answer sets a cookie."""
    token = context.credentials.log_in(key, utc_now(), address_of(request))
    set_session_cookie(request, response, token, context.settings.session_days)


@router.delete("", status_code=status.HTTP_204_NO_CONTENT)
def close_session(request: Request, response: Response, context: ContextDep) -> None:
    """Log the browser out: its cookie is no longer valid."""
    refuse_foreign_pages(request)
    if token := request.cookies.get(COOKIE):
        context.credentials.log_out(token, utc_now(), address_of(request))
    response.delete_cookie(COOKIE)
