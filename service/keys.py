"""API keys: random, shown once, stored as their hash."""

import secrets
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from uuid_utils import uuid7

from service.db.access_tables import ApiKey
from service.digests import sha256_hex
from service.states import Scope

_PREFIX = "tcal_"  # so that a key in the wrong place is recognised as one


class NewKey(NamedTuple):
    """A new key and its row; the key itself is not stored."""

    key: str
    row: ApiKey


def make_key(
    name: str, scopes: Sequence[Scope], now: datetime, expires_at: datetime | None = None
) -> NewKey:
    """Create a key of 256 random bits with these scopes, valid until `expires_at`, if any."""
    key = _PREFIX + secrets.token_urlsafe(32)
    row = key_row(name, key, scopes, now)
    row.expires_at = expires_at
    return NewKey(key, row)


def hash_key(key: str) -> str:
    """Return the SHA-256 of a key; for a random key that is enough."""
    return sha256_hex(key.encode())


def key_row(name: str, key: str, scopes: Sequence[Scope], now: datetime) -> ApiKey:
    """Build the row of a key, which holds the hash in place of the key."""
    return ApiKey(
        id=str(uuid7()), name=name, sha256=hash_key(key), scopes=list(scopes), created_at=now
    )
