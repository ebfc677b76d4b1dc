"""The module `service.client.keys` for asyncio, written by `async_source`."""

from collections.abc import AsyncIterator, Sequence
from datetime import datetime

from service.client.aio.threads import Threads
from service.client.keys import Keys
from service.schemas.resources import KeyView, NewKeyView
from service.states import Scope


class AsyncKeys:
    """Lists, makes and revokes API keys."""

    def __init__(self, client: Keys, threads: Threads) -> None:
        self._client, self._threads = client, threads

    async def list(self, *, sort: str | None = None) -> AsyncIterator[KeyView]:
        """Yield all keys without the keys themselves, newest first, or by `sort`, such as name."""
        async for one in self._threads.each(self._client.list, sort=sort):
            yield one

    async def make(
        self, name: str, scopes: Sequence[Scope | str], *, expires_at: datetime | None = None
    ) -> NewKeyView:
        """Make a key; only this answer has the key itself. It is not sent again if none comes."""
        return await self._threads.call(self._client.make, name, scopes, expires_at=expires_at)

    async def revoke(self, key_id: str) -> KeyView:
        """Revoke a key: it is refused from now on, and its sessions and event streams end."""
        return await self._threads.call(self._client.revoke, key_id)
