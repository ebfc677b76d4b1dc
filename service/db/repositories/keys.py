"""Keys, browser sessions and idempotency keys."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from service.db.access_tables import ApiKey, BrowserSession
from service.errors import KeyNotFoundError
from service.states import Scope


class KeyRepository:
    def __init__(self, session: Session) -> None:
        self._session = session

    def by_hash(self, sha256: str) -> ApiKey | None:
        """The key with this hash, unless it was revoked."""
        return self._session.scalar(
            select(ApiKey).where(ApiKey.sha256 == sha256, ApiKey.revoked_at.is_(None))
        )

    def by_session(self, sha256: str, now: datetime) -> ApiKey | None:
        """The key behind a browser session that has not run out."""
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
        self._session.add(key)
        self._session.flush()

    def any_valid(self) -> bool:
        query = select(ApiKey.id).where(ApiKey.revoked_at.is_(None)).limit(1)
        return self._session.scalar(query) is not None

    def any_admin(self) -> bool:
        """Can anybody still make keys?"""
        valid = self._session.scalars(select(ApiKey).where(ApiKey.revoked_at.is_(None)))
        return any(Scope.ADMIN in key.scopes for key in valid)

    def list(self) -> Sequence[ApiKey]:
        return self._session.scalars(select(ApiKey).order_by(ApiKey.id)).all()

    def revoke(self, key_id: str, now: datetime) -> ApiKey:
        """It opens nothing any more, and its browser sessions end. Raises KeyNotFoundError."""
        self._session.execute(select(ApiKey.id).order_by(ApiKey.id).with_for_update())
        key = self._session.get(ApiKey, key_id)
        if key is None:
            raise KeyNotFoundError(key_id)
        if key.revoked_at is None:
            key.revoked_at = now
        self._session.execute(delete(BrowserSession).where(BrowserSession.key_id == key_id))
        return key

    def open_session(self, session: BrowserSession, now: datetime) -> None:
        """Log a browser in; sessions that have run out are swept away."""
        self._session.execute(delete(BrowserSession).where(BrowserSession.expires_at <= now))
        self._session.add(session)
        self._session.flush()

    def close_session(self, sha256: str) -> None:
        self._session.execute(delete(BrowserSession).where(BrowserSession.sha256 == sha256))
