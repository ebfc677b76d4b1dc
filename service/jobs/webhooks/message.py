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
from typing import NamedTuple

from service.db.tables import Event
from service.schemas.jobs import EventView

PREFIX = "whsec_"
_BYTES = range(24, 65)  # of a secret


class Message(NamedTuple):
    """What is sent about one event."""

    id: str  # the same in every attempt
    body: bytes


def message_of(event: Event) -> Message:
    """Return the message of one event: its JSON as in the event stream.

    The id also holds the time of the event: a restored database gives numbers a second time.
    Raises ValueError if the event is damaged.
    """
    view = EventView.model_validate(event)
    made = int(view.created_at.timestamp() * 1000)
    return Message(f"evt_{view.seq}_{made}", view.model_dump_json().encode())


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
