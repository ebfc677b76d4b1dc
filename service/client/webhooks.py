"""Webhooks, for a key of the scope `admin`."""

from collections.abc import Iterator, Sequence
from typing import Any

from service.client.transport import Transport
from service.schemas.webhooks import DeliveryView, NewWebhookView, WebhookView


class Webhooks:
    """Makes, changes, tests and deletes webhooks."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(self) -> Iterator[WebhookView]:
        """Yield all webhooks, newest first, without their secrets."""
        return self._transport.every("/v1/webhooks", WebhookView)

    def get(self, webhook_id: str) -> WebhookView:
        """Return one webhook: how far it has come, and why the last attempt failed."""
        return self._transport.get(f"/v1/webhooks/{webhook_id}", WebhookView)

    def make(
        self, url: str, *, events: Sequence[str] | None = None, secret: str | None = None
    ) -> NewWebhookView:
        """Make a webhook; only this answer has its secret. It is not sent again if none comes.

        Without `events` all types are sent but job.progress and job.log.
        """
        body = {"url": url, "events": None if events is None else [*events], "secret": secret}
        answer = self._transport.send("POST", "/v1/webhooks", json=body)
        return NewWebhookView.model_validate_json(answer.content)

    def change(
        self,
        webhook_id: str,
        *,
        url: str | None = None,
        events: Sequence[str] | None = None,
        secret: str | None = None,
        enabled: bool | None = None,
    ) -> WebhookView:
        """Change what is given. One that is enabled again goes on with the next event."""
        given: dict[str, Any] = {"url": url, "secret": secret, "enabled": enabled}
        given["events"] = None if events is None else [*events]
        body = {name: value for name, value in given.items() if value is not None}
        answer = self._transport.send("PATCH", f"/v1/webhooks/{webhook_id}", json=body)
        return WebhookView.model_validate_json(answer.content)

    def test(self, webhook_id: str) -> DeliveryView:
        """Send a message of the type `webhook.test` now; return what came of it."""
        answer = self._transport.send("POST", f"/v1/webhooks/{webhook_id}/test")
        return DeliveryView.model_validate_json(answer.content)

    def delete(self, webhook_id: str) -> None:
        """Delete a webhook: it gets no more events."""
        self._transport.send("DELETE", f"/v1/webhooks/{webhook_id}")
