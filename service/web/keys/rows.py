"""Data of the page of API keys: scopes, expiry and last use, and the form that makes one."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from pydantic import ValidationError
from sqlalchemy.orm import Session

from service.db.access_tables import ApiKey
from service.db.isolation import going_on
from service.db.repositories.keys import KeyRepository
from service.db.repositories.paging import PageRequest
from service.formatting import DASH
from service.logs import warn_in_a_line
from service.schemas.resources import KeyRequest
from service.states import Scope

_SHOWN = 100
_DAYS_MAX = 3650
SCOPES = {
    Scope.READ: "see everything but this page and the audit trail",
    Scope.OPERATE: "submit and cancel jobs, register and retire chips, upload",
    Scope.ADMIN: "make and revoke keys, see the audit trail",
    Scope.AGENT: "register chip agents, nothing else",
}


class KeyRow(NamedTuple):
    """A row of the table of keys."""

    id: str
    name: str
    scopes: str
    state: str  # valid, expired, revoked, unreadable
    created_at: datetime | None
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None
    is_mine: bool  # the key that looks at the page


class KeyList(NamedTuple):
    """All data of the page of keys."""

    headline: str
    rows: tuple[KeyRow, ...]
    next_cursor: str | None


class KeyFormError(Exception):
    """What was entered to make a key is not valid; the message says what to change."""


def read_keys(session: Session, cursor: str | None, mine: str, now: datetime) -> KeyList:
    """Read one page of keys, newest first. Raises ForeignCursorError."""
    found = KeyRepository(session).list(PageRequest(_SHOWN, cursor))
    rows = [any_key_row(row, mine, now) for row in found.rows]
    rows += [_unreadable(str(id), mine) for id in found.unreadable]
    rows.sort(key=lambda row: row.id, reverse=True)
    return KeyList("API keys", tuple(rows), found.next_cursor)


def any_key_row(row: ApiKey, mine: str, now: datetime) -> KeyRow:
    """Build the row of one key, or say that what it holds cannot be read."""
    with going_on() as outcome:
        return KeyRow(
            id=row.id,
            name=row.name,
            scopes=", ".join(Scope(scope) for scope in row.scopes),
            state=_state(row, now),
            created_at=row.created_at,
            expires_at=row.expires_at,
            revoked_at=row.revoked_at,
            last_used_at=row.last_used_at,
            is_mine=row.id == mine,
        )
    if outcome.error is not None:
        event = "pages: the row of a key is damaged, it is shown as unreadable"
        warn_in_a_line(__name__, event, outcome.error, key_id=row.id)
    return _unreadable(row.id, mine)


def key_request(fields: Mapping[str, Sequence[str]], now: datetime) -> KeyRequest:
    """Read the form that makes a key. Raises KeyFormError."""
    name = (fields.get("name") or [""])[0].strip()
    if not name:
        raise KeyFormError("Give the key a name that says who or what uses it.")
    if not fields.get("scope"):
        raise KeyFormError("Choose at least one scope.")
    try:
        return KeyRequest.model_validate(
            {"name": name, "scopes": fields["scope"], "expires_at": _expiry(fields, now)}
        )
    except ValidationError as error:
        raise KeyFormError(f"The {error.errors()[0]['loc'][0]} is not valid.") from None


def _expiry(fields: Mapping[str, Sequence[str]], now: datetime) -> datetime | None:
    text = (fields.get("days") or [""])[0].strip()
    if not text:
        return None
    if not (text.isascii() and text.isdecimal() and 1 <= int(text[:6]) <= _DAYS_MAX):
        raise KeyFormError(
            f"Give the days as a whole number from 1 to {_DAYS_MAX}, or leave them out."
        )
    return now + timedelta(days=int(text))


def _state(row: ApiKey, now: datetime) -> str:
    if row.revoked_at is not None:
        return "revoked"
    return "expired" if row.expires_at is not None and row.expires_at <= now else "valid"


def _unreadable(key_id: str, mine: str) -> KeyRow:
    nothing = (None, None, None, None)
    return KeyRow(key_id, "its row cannot be read", DASH, "unreadable", *nothing, key_id == mine)
