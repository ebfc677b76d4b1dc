"""The page of API keys: make one, see their use, revoke them; for keys with the scope `admin`."""

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import Query, Request, Response
from fastapi.responses import RedirectResponse

from service.api import keys as api_keys
from service.api.auth import ActorDep
from service.api.context import Context, ContextDep, utc_now
from service.api.threads import ServiceRouter
from service.db.repositories.audit import Actor
from service.db.repositories.keys import KeyRepository
from service.errors import ConflictError, NotFoundError
from service.web.access import Fields, unless_admin
from service.web.keys.rows import SCOPES, KeyFormError, any_key_row, key_request, read_keys
from service.web.rendering import show, show_problem

router = ServiceRouter(include_in_schema=False)
_NOTHING: Mapping[str, Any] = {"name": "", "days": "", "scopes": ()}


@router.get("/keys")
def keys(
    request: Request,
    context: ContextDep,
    actor: ActorDep,
    cursor: Annotated[str | None, Query(max_length=200)] = None,
) -> Response:
    """List the API keys, newest first, and show the form that makes one."""
    return unless_admin(request) or _keys(request, context, actor, cursor=cursor)


@router.post("/keys")
def make(request: Request, context: ContextDep, actor: ActorDep, fields: Fields) -> Response:
    """Make a key, and show it: no other answer ever does."""
    if refused := unless_admin(request):
        return refused
    try:
        asked = key_request(fields, utc_now())
    except KeyFormError as error:
        texts = {name: (fields.get(name) or [""])[0] for name in ("name", "days")}
        entered = {"scopes": fields.get("scope", []), **texts}
        return _keys(request, context, actor, entered=entered, wrong=str(error))
    made = api_keys.create_key(asked, context, actor)
    return show(request, "key_made.html", made=made)


@router.get("/keys/{key_id}/revoke")
def ask_to_revoke(request: Request, context: ContextDep, actor: ActorDep, key_id: str) -> Response:
    """Ask whether a key shall be revoked, and say what that means."""
    if refused := unless_admin(request):
        return refused
    with context.database.reading() as session:
        found = KeyRepository(session).find(key_id)
    if found is None:
        return show_problem(request, 404, "Not found", f"There is no key {key_id}.")
    row = any_key_row(found, str(actor.key_id), utc_now())
    return show(request, "key_revoke.html", row=row)


@router.post("/keys/{key_id}/revoke")
def revoke(request: Request, context: ContextDep, actor: ActorDep, key_id: str) -> Response:
    """Revoke a key, then list them again."""
    if refused := unless_admin(request):
        return refused
    try:
        api_keys.revoke_key(key_id, context, actor)
    except NotFoundError as error:
        return show_problem(request, 404, "Not found", str(error))
    except ConflictError as error:
        return show_problem(request, 409, "Not revoked", str(error))
    return RedirectResponse("/keys", status_code=303)


def _keys(
    request: Request,
    context: Context,
    actor: Actor,
    *,
    cursor: str | None = None,
    entered: Mapping[str, Any] = _NOTHING,
    wrong: str = "",
) -> Response:
    now = utc_now()
    with context.database.reading() as session:
        found = read_keys(session, cursor, str(actor.key_id), now)
    return show(
        request,
        "keys.html",
        status=422 if wrong else 200,
        page=found,
        now=now,
        scopes=SCOPES,
        entered=entered,
        wrong=wrong,
        first=cursor is None,
    )
