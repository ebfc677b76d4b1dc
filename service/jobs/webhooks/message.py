"""The messages of webhooks and their signatures, as the convention Standard Webhooks has them.

https://www.standardwebhooks.com: the headers webhook-id, webhook-timestamp and webhook-signature.
"""

import base64
import binascii
import hashlib
import hmac
import json
import secrets
from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

from service.db.tables import Event
from service.schemas.jobs import EventView

MESSAGE_MAX = 64 * 1024  # bytes of a body
_NAMES_MAX, _NAME_MAX = 20, 100  # fields that are named as left out; letters of a name
PREFIX = "whsec_"
_BYTES = range(24, 65)  # of a secret


class Message(NamedTuple):
    """What is sent about one event."""

    id: str  # the same in every attempt
    body: bytes


def message_of(event: Event) -> Message:
    """Return the message of one event: its JSON as in the event stream, within `MESSAGE_MAX` bytes.

    Of an event with more, the largest fields of its data are left out and named in `omitted`. The
    id also holds the time of the event: a restored database gives numbers a second time.
    Raises ValueError if the event is damaged.
    """
    view = EventView.model_validate(event)
    made = int(view.created_at.timestamp() * 1000)
    body = view.model_dump_json().encode()
    if len(body) > MESSAGE_MAX:
        body = _shortened(view)
    return Message(f"evt_{view.seq}_{made}", body)


def _shortened(view: EventView) -> bytes:
    """Leave out the largest fields of the data until the rest fits; name them in `omitted`."""
    fields = view.model_dump(mode="json")
    data: dict[str, Any] = fields["data"]
    omitted: list[str] = []
    body = b""
    for name in sorted(data, key=lambda name: len(_as_json(data[name])), reverse=True):
        del data[name]
        omitted.append(name[:_NAME_MAX])
        body = _as_json(fields | {"omitted": omitted[:_NAMES_MAX]})
        if len(body) <= MESSAGE_MAX:
            break
    return body


def _as_json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def test_message(webhook_id: str, now: datetime) -> Message:
    """Return a message of the type `webhook.test`, which no event is behind."""
    body = {"type": "webhook.test", "data": {"webhook_id": webhook_id}}
    text = json.dumps(body | {"created_at": now.isoformat()})
    return Message(f"test_{secrets.token_hex(8)}", text.encode())


def signed_headers(message: Message, secret: str, timestamp: int) -> Mapping[str, str]:
    """Return the headers of one attempt, made `timestamp` seconds after the epoch.

    Raises ValueError if the secret is none.
    """
    signed = f"{message.id}.{timestamp}.".encode() + message.body
    digest = hmac.new(key_of(secret), signed, hashlib.sha256).digest()
    return {
        "Content-Type": "application/json",
        "User-Agent": "Tandemcal-Webhooks",
        "webhook-id": message.id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": f"v1,{base64.b64encode(digest).decode()}",
    }


def new_secret() -> str:
    """Return a new secret of 32 random bytes."""
    return PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def key_of(secret: str) -> bytes:
    """Return the bytes of a secret. Raises ValueError unless it has 24 to 64 of them."""
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except binascii.Error as error:
        raise ValueError("it has to be whsec_ and base64") from error
    if len(key) not in _BYTES:
        raise ValueError(f"it has to hold {_BYTES.start} to {_BYTES.stop - 1} bytes")
    return key
