"""Webhooks, for keys of the scope `admin`: where events are sent."""

import time

from fastapi import Response, status
from pydantic import AnyHttpUrl
from uuid_utils import uuid7

from service.api.auth import ADMIN, ActorDep
from service.api.context import Context, ContextDep, PageDep, utc_now
from service.api.lists import list_page
from service.api.one_row import row_answer
from service.api.threads import ServiceRouter
from service.api.views import columns_of
from service.db.repositories.audit import AuditRepository
from service.db.repositories.events import EventRepository
from service.db.repositories.webhooks import WebhookRepository
from service.db.session import clock
from service.db.webhook_tables import URL_MAX, Webhook
from service.errors import ConflictError
from service.jobs.webhooks.delivery import deliver, webhook_networks
from service.jobs.webhooks.message import key_of, new_secret, test_message
from service.networks import ForbiddenAddressError
from service.request_errors import FieldProblem, InvalidFieldsError
from service.schemas.base import Page, ResourceId
from service.schemas.webhooks import (
    DeliveryView,
    NewWebhookView,
    WebhookPatch,
    WebhookRequest,
    WebhookView,
)

router = ServiceRouter(prefix="/v1/webhooks", tags=["webhooks"], dependencies=[ADMIN])


@router.post("", status_code=status.HTTP_201_CREATED)
def create_webhook(body: WebhookRequest, context: ContextDep, actor: ActorDep) -> NewWebhookView:
    """Make a webhook. It gets the events that happen from now on. Only this answer has its secret.

    The address has to be in the networks of agents, or in TANDEMCAL_WEBHOOK_NETWORKS.
    """
    url, secret = _checked(body.url, context), _checked_secret(body.secret) or new_secret()
    with context.database.writing() as session:
        now = clock(session)
        made = Webhook(
            id=str(uuid7()),
            url=url,
            events=body.events,
            encrypted_secret=context.cipher.encrypt(secret),
            created_at=now,
            updated_at=now,
            given_up=0,
            lease=0,
        )
        webhooks = WebhookRepository(session)
        webhooks.enable(made, EventRepository(session).last(), now)
        webhooks.add(made)
        AuditRepository(session).record(actor, "webhook.created", made.id, now, host=_host(url))
        return NewWebhookView(**columns_of(made, WebhookView), secret=secret)


@router.get("", response_model=Page[WebhookView])
def list_webhooks(context: ContextDep, page: PageDep) -> Response:
    """List webhooks, newest first, without their secrets."""
    with context.database.reading() as session:
        found = WebhookRepository(session).list(page)
    return list_page(found, WebhookView.model_validate)


@router.get("/{webhook_id}", response_model=WebhookView)
def get_webhook(webhook_id: ResourceId, context: ContextDep) -> Response:
    """Describe one webhook: how far it has come, and why the last attempt failed."""
    with context.database.reading() as session:
        webhooks = WebhookRepository(session)
        return row_answer(
            "webhook", webhook_id, lambda: WebhookView.model_validate(webhooks.get(webhook_id))
        )


@router.patch("/{webhook_id}")
def change_webhook(
    webhook_id: ResourceId, body: WebhookPatch, context: ContextDep, actor: ActorDep
) -> WebhookView:
    """Change address, types, secret, or whether it is enabled; what is left out stays.

    One that is enabled again gets the events that happen from then on.
    """
    url = None if body.url is None else _checked(body.url, context)
    secret = _checked_secret(body.secret)
    with context.database.writing() as session:
        webhooks, now = WebhookRepository(session), utc_now()
        found = webhooks.lock(webhook_id)
        if url is not None:
            found.url, found.next_try_at = url, now
        if "events" in body.model_fields_set:
            found.events = body.events
        if secret is not None:
            found.encrypted_secret = context.cipher.encrypt(secret)
        if body.enabled and not found.enabled:
            webhooks.enable(found, EventRepository(session).last(), now)
        elif body.enabled is False:
            found.enabled = False
        found.updated_at, found.lease, found.leased_until = now, found.lease + 1, None
        changed = sorted(body.model_fields_set)
        AuditRepository(session).record(actor, "webhook.changed", webhook_id, now, fields=changed)
        session.flush()
        return WebhookView.model_validate(found)


@router.delete("/{webhook_id}", status_code=status.HTTP_204_NO_CONTENT)
def delete_webhook(webhook_id: ResourceId, context: ContextDep, actor: ActorDep) -> None:
    """Delete a webhook. An attempt that has begun goes on for up to ten seconds."""
    with context.database.writing() as session:
        found = WebhookRepository(session).delete(webhook_id)
        AuditRepository(session).record(
            actor, "webhook.deleted", webhook_id, utc_now(), host=_host(found.url)
        )


@router.post("/{webhook_id}/test")
def test_webhook(webhook_id: ResourceId, context: ContextDep, actor: ActorDep) -> DeliveryView:
    """Send a message of the type `webhook.test` now, once, and say what came of it."""
    with context.database.writing() as session:
        found, now = WebhookRepository(session).get(webhook_id), utc_now()
        AuditRepository(session).record(actor, "webhook.tested", webhook_id, now)
    secret = context.cipher.decrypt(found.encrypted_secret)
    if secret is None:
        raise ConflictError("The secret of this webhook cannot be decrypted; set another one.")
    began = time.monotonic()
    networks = webhook_networks(context.settings)
    outcome = deliver(found.url, secret, test_message(webhook_id, now), networks)
    return DeliveryView(
        delivered=outcome.error is None,
        error=outcome.error,
        duration_s=round(time.monotonic() - began, 3),
    )


def _checked(url: AnyHttpUrl, context: Context) -> str:
    """Return the address as it is stored. Raises InvalidFieldsError if it may not be called."""
    text = str(url)
    if url.username or url.password or url.fragment:
        message = "an address has no user and no fragment"
        raise InvalidFieldsError(FieldProblem("/url", message))
    if len(text) > URL_MAX:
        message = f"an address has at most {URL_MAX} characters"
        raise InvalidFieldsError(FieldProblem("/url", message))
    try:
        webhook_networks(context.settings).resolve(url.host or "", url.port or 0)
    except ForbiddenAddressError as error:
        raise InvalidFieldsError(FieldProblem("/url", str(error))) from error
    except OSError as error:
        message = f"the name cannot be resolved from here ({error})"
        raise InvalidFieldsError(FieldProblem("/url", message)) from error
    return text


def _checked_secret(secret: str | None) -> str | None:
    """Return the secret. Raises InvalidFieldsError if it is none."""
    try:
        if secret is not None:
            key_of(secret)
    except ValueError as error:
        raise InvalidFieldsError(FieldProblem("/secret", str(error))) from error
    return secret


def _host(url: str) -> str:
    return str(AnyHttpUrl(url).host)
