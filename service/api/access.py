"""Keys for programs, and the session of a browser."""

from typing import Annotated

from fastapi import APIRouter, Body, Request, Response, status
from pydantic import Field

from service.api.auth import ADMIN, COOKIE, refuse_foreign_pages, set_session_cookie
from service.api.context import ContextDep, utc_now
from service.db.repositories.access import KeyRepository
from service.errors import ConflictError
from service.keys import make_key
from service.schemas.resources import KeyRequest, KeyView, NewKeyView

keys = APIRouter(prefix="/v1/keys", tags=["keys"], dependencies=[ADMIN])
session = APIRouter(prefix="/v1/session", tags=["session"])


@keys.get("")
def list_keys(context: ContextDep) -> list[KeyView]:
    with context.database.reading() as unit:
        return [KeyView.model_validate(row) for row in KeyRepository(unit).list()]


@keys.post("", status_code=status.HTTP_201_CREATED)
def create_key(body: KeyRequest, context: ContextDep) -> NewKeyView:
    """The answer shows the key, this once."""
    new = make_key(body.name, body.scopes, utc_now())
    with context.database.writing() as unit:
        KeyRepository(unit).add(new.row)
    shown = KeyView.model_validate(new.row).model_dump()
    return NewKeyView(**shown, key=new.key)


@keys.delete("/{key_id}")
def revoke_key(key_id: str, context: ContextDep) -> KeyView:
    """It opens nothing any more. The last key of an administrator stays."""
    with context.database.writing() as unit:
        stored = KeyRepository(unit)
        view = KeyView.model_validate(stored.revoke(key_id, utc_now()))
        if not stored.any_admin():
            raise ConflictError(
                "This is the last key with the scope 'admin'; create another one first."
            )
    context.credentials.forget()
    return view


@session.post("", status_code=status.HTTP_204_NO_CONTENT)
def open_session(
    key: Annotated[str, Body(embed=True), Field(max_length=200)],
    request: Request,
    response: Response,
    context: ContextDep,
) -> None:
    """Log a browser in: the answer sets a cookie."""
    token = context.credentials.log_in(key, utc_now())
    set_session_cookie(request, response, token, context.settings.session_days)


@session.delete("", status_code=status.HTTP_204_NO_CONTENT)
def close_session(request: Request, response: Response, context: ContextDep) -> None:
    """Log the browser out."""
    refuse_foreign_pages(request)
    if token := request.cookies.get(COOKIE):
        context.credentials.log_out(token)
    response.delete_cookie(COOKIE)
