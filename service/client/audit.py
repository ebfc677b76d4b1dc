"""The audit trail, for a key of the scope `admin`."""

from collections.abc import Iterator

from service.client.transport import Transport
from service.schemas.audit import AuditView


class Audit:
    """Reads who changed what."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(
        self,
        *,
        action: str | None = None,
        subject: str | None = None,
        key_id: str | None = None,
        oldest_first: bool = False,
    ) -> Iterator[AuditView]:
        """Yield changes, newest first: all, or those of one kind, of one subject, by one key."""
        wanted = {"action": action, "subject": subject, "key_id": key_id, "limit": 200}
        sort = "created_at" if oldest_first else "-created_at"
        return self._transport.every("/v1/audit", AuditView, sort=sort, **wanted)
