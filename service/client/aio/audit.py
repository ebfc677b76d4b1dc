"""The module `service.client.audit` for asyncio, written by `async_source`."""

from collections.abc import AsyncIterator

from service.client.aio.threads import Threads
from service.client.audit import Audit
from service.schemas.audit import AuditView


class AsyncAudit:
    """Reads who changed what."""

    def __init__(self, client: Audit, threads: Threads) -> None:
        self._client, self._threads = client, threads

    async def list(
        self,
        *,
        action: str | None = None,
        subject: str | None = None,
        key_id: str | None = None,
        oldest_first: bool = False,
    ) -> AsyncIterator[AuditView]:
        """Yield changes, newest first: all, or those of one kind, of one subject, by one key."""
        async for one in self._threads.each(
            self._client.list,
            action=action,
            subject=subject,
            key_id=key_id,
            oldest_first=oldest_first,
        ):
            yield one
