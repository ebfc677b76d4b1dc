"""API keys, and browser sessions opened with them."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from service.db.access_tables import ApiKey, BrowserSession
from service.errors import KeyNotFoundError
from service.states import Scope


class KeyRepository:
    """Stores and revokes API keys and browser sessions."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def by_hash(self, sha256: str) -> ApiKey | None:
        """Return the key with this hash, or None if there is none or it was revoked."""
        return self._session.scalar(
            select(ApiKey).where(ApiKey.sha256 == sha256, ApiKey.revoked_at.is_(None))
        )

    def by_session(self, sha256: str, now: datetime) -> ApiKey | None:
        """Return the key of a browser session, or None if it has expired or was revoked."""
        return self._session.scalar(
            select(ApiKey)
            .join(BrowserSession, BrowserSession.key_id == ApiKey.id)
            .where(
                BrowserSession.sha256 == sha256,
                BrowserSession.expires_at > now,
                ApiKey.revoked_at.is_(None),
            )
        )

    def add(self, key: ApiKey) -> None:
        """Store a new key."""
        self._session.add(key)
        self._session.flush()

    def any_valid(self) -> bool:
        """Return whether there is a key that was not revoked."""
        query = select(ApiKey.id).where(ApiKey.revoked_at.is_(None)).limit(1)
        return self._session.scalar(query) is not None

    def any_admin(self) -> bool:
        """Return whether there is a valid key with the scope `admin`."""
        valid = self._session.scalars(select(ApiKey).where(ApiKey.revoked_at.is_(None)))
        return any(Scope.ADMIN in key.scopes for key in valid)

    def list(self) -> Sequence[ApiKey]:
        """Return all keys, oldest first, revoked ones too."""
        return self._session.scalars(select(ApiKey).order_by(ApiKey.id)).all()

    def revoke(self, key_id: str, now: datetime) -> ApiKey:
        """Revoke a key and end its browser sessions. Raises KeyNotFoundError."""
        self._session.execute(select(ApiKey.id).order_by(ApiKey.id).with_for_update())
        key = self._session.get(ApiKey, key_id)
        if key is None:
            raise KeyNotFoundError(key_id)
        if key.revoked_at is None:
            key.revoked_at = now
        self._session.execute(delete(BrowserSession).where(BrowserSession.key_id == key_id))
        return key

    def open_session(self, session: BrowserSession, now: datetime) -> None:
        """Store a browser session, and delete those that have expired."""
        self._session.execute(delete(BrowserSession).where(BrowserSession.expires_at <= now))
        self._session.add(session)
        self._session.flush()

    def close_session(self, sha256: str) -> None:
        """Delete the browser session with this hash of its token."""
        self._session.execute(delete(BrowserSession).where(BrowserSession.sha256 == sha256))
