"""API keys and browser sessions: looked up in the database, cached for a few seconds."""

import secrets
import time
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from starlette.concurrency import run_in_threadpool

from service.api.key_use import KeyUse
from service.db.access_tables import ApiKey, BrowserSession
from service.db.outage import AWAY
from service.db.repositories.audit import Actor, AuditRepository
from service.db.repositories.keys import KeyRepository
from service.db.session import Database
from service.keys import hash_key
from service.logs import warn_in_a_line
from service.request_errors import ForbiddenError, UnauthenticatedError
from service.states import Scope

_CACHED = 5.0  # s; a key that another process revokes is accepted for at most this long
_CACHE_SIZE = 10_000


class Principal(NamedTuple):
    """Whose request it is (the API key), and which scopes it has."""

    key_id: str
    name: str
    scopes: frozenset[Scope]
    expires_at: datetime | None  # of the key

    def is_valid(self, now: datetime) -> bool:
        """Tell whether the key has not expired."""
        return self.expires_at is None or self.expires_at > now


class CredentialStore:
    """Checks API keys and session tokens against the database, and opens and closes sessions."""

    def __init__(self, database: Database, session_days: int) -> None:
        self._database = database
        self.use = KeyUse(database)
        self._session_life = timedelta(days=session_days)
        self._known: dict[tuple[str, bool], tuple[Principal, float]] = {}

    async def by_key(self, key: str) -> Principal | None:
        """Return whom a valid API key belongs to, else None."""
        return await self._find(hash_key(key), of_session=False)

    async def by_cookie(self, token: str) -> Principal | None:
        """Return whom the session token of a cookie belongs to, else None."""
        return await self._find(hash_key(token), of_session=True)

    def log_in(self, key: str, now: datetime, address: str) -> str:
        """Open a browser session; return the token for its cookie.

        Raises UnauthenticatedError, and ForbiddenError for a key that may not read: such as the
        key of an agent, to which no page could be shown.
        """
        token = secrets.token_urlsafe(32)
        with self._database.writing() as session:
            keys = KeyRepository(session)
            if (row := keys.by_hash(hash_key(key), now)) is None:
                raise UnauthenticatedError
            if Scope.READ not in row.scopes:
                raise ForbiddenError(Scope.READ)
            opened = BrowserSession(
                sha256=hash_key(token), key_id=row.id, expires_at=now + self._session_life
            )
            keys.open_session(opened, now)
            AuditRepository(session).record(
                Actor(row.id, address), "session.opened", row.id, now, name=row.name
            )
        return token

    def log_out(self, token: str, now: datetime, address: str) -> None:
        """End the browser session of this token."""
        with self._database.writing() as session:
            keys = KeyRepository(session)
            row = keys.by_session(hash_key(token), now)
            keys.close_session(hash_key(token))
            if row is not None:
                actor = Actor(row.id, address)
                AuditRepository(session).record(actor, "session.closed", row.id, now)
        self.forget()

    def record_refusal(self, address: str, path: str) -> None:
        """Leave an audit event of a wrong key; none if the database does not answer."""
        now = datetime.now(UTC)
        try:
            with self._database.writing() as session:
                actor = Actor(None, address)
                AuditRepository(session).record(actor, "key.refused", None, now, path=path[:200])
        except AWAY as error:
            warn_in_a_line(__name__, "audit: a wrong key was not recorded", error, by=address)

    def forget(self) -> None:
        """Empty the cache, because a key or a session was revoked."""
        self._known.clear()

    async def _find(self, sha256: str, *, of_session: bool) -> Principal | None:
        credential, now = (sha256, of_session), datetime.now(UTC)
        known = self._known.get(credential)
        if known is not None and time.monotonic() - known[1] < _CACHED and known[0].is_valid(now):
            self.use.note(known[0].key_id, now)
            return known[0]
        found = await run_in_threadpool(self._look_up, *credential)
        if found is None:
            self._known.pop(credential, None)
            return None
        if len(self._known) >= _CACHE_SIZE:
            self._known.clear()
        self._known[credential] = (found, time.monotonic())
        self.use.note(found.key_id, now)
        return found

    def _look_up(self, sha256: str, of_session: bool) -> Principal | None:
        with self._database.reading() as session:
            keys, now = KeyRepository(session), datetime.now(UTC)
            row = keys.by_session(sha256, now) if of_session else keys.by_hash(sha256, now)
        return None if row is None else _principal(row)


def _principal(row: ApiKey) -> Principal:
    scopes = frozenset(Scope(scope) for scope in row.scopes)
    return Principal(row.id, row.name, scopes, row.expires_at)
