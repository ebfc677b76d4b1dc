"""API keys: list, create and revoke them."""

from fastapi import Response, status

from service.api.auth import ADMIN, ActorDep
from service.api.context import ContextDep, NamedPageDep, utc_now
from service.api.lists import list_page
from service.api.threads import ServiceRouter
from service.api.views import columns_of
from service.db.repositories.audit import AuditRepository
from service.db.repositories.keys import KeyRepository
from service.errors import ConflictError
from service.keys import make_key
from service.request_errors import FieldProblem, InvalidFieldsError
from service.schemas.base import Page, ResourceId
from service.schemas.resources import KeyRequest, KeyView, NewKeyView

router = ServiceRouter(prefix="/v1/keys", tags=["keys"], dependencies=[ADMIN])


@router.get("", response_model=Page[KeyView])
def list_keys(context: ContextDep, page: NamedPageDep) -> Response:
    """List API keys, newest first, without the keys themselves."""
    with context.database.reading() as unit:
        found = KeyRepository(unit).list(page)
    return list_page(found, KeyView.model_validate)


@router.post("", status_code=status.HTTP_201_CREATED)
def create_key(body: KeyRequest, context: ContextDep, actor: ActorDep) -> NewKeyView:
    """Create an API key. Only this answer shows the key."""
    now = utc_now()
    if body.expires_at is not None and body.expires_at <= now:
        raise InvalidFieldsError(FieldProblem("/expires_at", "this time has passed"))
    new = make_key(body.name, body.scopes, now, body.expires_at)
    with context.database.writing() as unit:
        KeyRepository(unit).add(new.row)
        told = {"name": body.name, "scopes": list(body.scopes)}
        AuditRepository(unit).record(actor, "key.created", new.row.id, now, **told)
    return NewKeyView(**columns_of(new.row, NewKeyView), key=new.key)


@router.delete("/{key_id}")
def revoke_key(key_id: ResourceId, context: ContextDep, actor: ActorDep) -> KeyView:
    """Revoke an API key. The last key with the scope `admin` cannot be revoked."""
    now = utc_now()
    with context.database.writing() as unit:
        stored = KeyRepository(unit)
        view = KeyView.model_validate(stored.revoke(key_id, now))
        AuditRepository(unit).record(actor, "key.revoked", key_id, now, name=view.name)
        if not stored.any_admin(now):
            raise ConflictError(
                "This is the last key with the scope 'admin'; create another one first."
            )
    context.credentials.forget()
    return view
