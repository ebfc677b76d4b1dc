"""API keys, for a key of the scope `admin`."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from service.client.transport import Transport
from service.schemas.resources import KeyView, NewKeyView
from service.states import Scope


class Keys:
    """Lists, makes and revokes API keys."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(self, *, sort: str | None = None) -> Iterator[KeyView]:
        """Yield all keys without the keys themselves, newest first, or by `sort`, such as name."""
        return self._transport.every("/v1/keys", KeyView, sort=sort)

    def make(
        self, name: str, scopes: Sequence[Scope | str], *, expires_at: datetime | None = None
    ) -> NewKeyView:
        """Make a key; only this answer has the key itself. It is not sent again if none comes."""
        body: dict[str, Any] = {"name": name, "scopes": list(scopes)}
        if expires_at is not None:
            body["expires_at"] = expires_at.isoformat()
        answer = self._transport.send("POST", "/v1/keys", json=body)
        return NewKeyView.model_validate_json(answer.content)

    def revoke(self, key_id: str) -> KeyView:
        """Revoke a key: it is refused from now on, and its sessions and event streams end."""
        answer = self._transport.send("DELETE", f"/v1/keys/{key_id}")
        return KeyView.model_validate_json(answer.content)
