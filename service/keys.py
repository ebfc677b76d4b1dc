"""Keys: random, shown once, kept as their hash."""

import hashlib
import secrets
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from uuid_utils import uuid7

from service.db.access_tables import ApiKey
from service.states import Scope

_PREFIX = "tcal_"  # so that a key in the wrong place is recognised


class NewKey(NamedTuple):
    """A key with its row; the key itself is kept nowhere."""

    key: str
    row: ApiKey


def make_key(name: str, scopes: Sequence[Scope], now: datetime) -> NewKey:
    """256 random bits."""
    key = _PREFIX + secrets.token_urlsafe(32)
    return NewKey(key, key_row(name, key, scopes, now))


def hash_key(key: str) -> str:
    """Plain SHA-256 is enough for a key that cannot be guessed."""
    return hashlib.sha256(key.encode()).hexdigest()


def key_row(name: str, key: str, scopes: Sequence[Scope], now: datetime) -> ApiKey:
    """The row of a key, with its hash in place of the key."""
    return ApiKey(
        id=str(uuid7()), name=name, sha256=hash_key(key), scopes=list(scopes), created_at=now
    )
