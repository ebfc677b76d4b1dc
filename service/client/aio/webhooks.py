"""The module `service.client.webhooks` for asyncio, written by `async_source`."""

from collections.abc import AsyncIterator, Sequence

from service.client.aio.threads import Threads
from service.client.webhooks import Webhooks
from service.schemas.webhooks import DeliveryView, NewWebhookView, WebhookView


class AsyncWebhooks:
    """Makes, changes, tests and deletes webhooks."""

    def __init__(self, client: Webhooks, threads: Threads) -> None:
        self._client, self._threads = client, threads

    async def list(self) -> AsyncIterator[WebhookView]:
        """Yield all webhooks, newest first, without their secrets."""
        async for one in self._threads.each(self._client.list):
            yield one

    async def get(self, webhook_id: str) -> WebhookView:
        """Return one webhook: how far it has come, and why the last attempt failed."""
        return await self._threads.call(self._client.get, webhook_id)

    async def make(
        self, url: str, *, events: Sequence[str] | None = None, secret: str | None = None
    ) -> NewWebhookView:
        """Make a webhook; only this answer has its secret. It is not sent again if none comes."""
        return await self._threads.call(self._client.make, url, events=events, secret=secret)

    async def change(
        self,
        webhook_id: str,
        *,
        url: str | None = None,
        events: Sequence[str] | None = None,
        secret: str | None = None,
        enabled: bool | None = None,
    ) -> WebhookView:
        """Change what is given. One that is enabled again goes on with the next event."""
        return await self._threads.call(
            self._client.change, webhook_id, url=url, events=events, secret=secret, enabled=enabled
        )

    async def test(self, webhook_id: str) -> DeliveryView:
        """Send a message of the type `webhook.test` now; return what came of it."""
        return await self._threads.call(self._client.test, webhook_id)

    async def delete(self, webhook_id: str) -> None:
        """Delete a webhook: it gets no more events."""
        return await self._threads.call(self._client.delete, webhook_id)
