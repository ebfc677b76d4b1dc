"""API keys, and browser sessions opened with them."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, and_, delete, or_, select, update
from sqlalchemy.orm import Session

from service.db.access_tables import ApiKey, BrowserSession
from service.db.repositories.paging import PageRequest, RowPage, fetch_page
from service.db.repositories.rows import load_row
from service.db.repositories.sorted_lists import Sort, by_text, fetch_sorted
from service.errors import KeyNotFoundError
from service.states import Scope


class KeyRepository:
    """Stores and revokes API keys and browser sessions."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def by_hash(self, sha256: str, now: datetime) -> ApiKey | None:
        """Return the valid key with this hash, or None."""
        return self._session.scalar(select(ApiKey).where(ApiKey.sha256 == sha256, _valid(now)))

    def by_session(self, sha256: str, now: datetime) -> ApiKey | None:
        """Return the valid key of a browser session that has not expired, or None."""
        return self._session.scalar(
            select(ApiKey)
            .join(BrowserSession, BrowserSession.key_id == ApiKey.id)
            .where(
                BrowserSession.sha256 == sha256,
                BrowserSession.expires_at > now,
                _valid(now),
            )
        )

    def add(self, key: ApiKey) -> None:
        """Store a new key."""
        self._session.add(key)
        self._session.flush()

    def find(self, key_id: str) -> ApiKey | None:
        """Return the key of this id, or None."""
        return self._session.get(ApiKey, key_id)

    def any_admin(self, now: datetime) -> bool:
        """Return whether there is a valid key with the scope `admin`."""
        valid = self._session.scalars(select(ApiKey).where(_valid(now)))
        return any(Scope.ADMIN in key.scopes for key in valid)

    def named(self, name: str) -> Sequence[ApiKey]:
        """Return the keys of this name, revoked ones too."""
        return self._session.scalars(select(ApiKey).where(ApiKey.name == name)).all()

    def list(self, page: PageRequest) -> RowPage[ApiKey]:
        """Return one page of keys, revoked ones too."""
        query = select(ApiKey)
        if page.sort == "name":
            by_name = Sort(ApiKey.name, by_text)
            return fetch_sorted(self._session, query, ApiKey.id, by_name, page)
        return fetch_page(self._session, query, ApiKey.id, page)

    def names(self, key_ids: Collection[str]) -> dict[str, str]:
        """Return the names of these keys, revoked ones too, by id."""
        query = select(ApiKey.id, ApiKey.name).where(ApiKey.id.in_(key_ids))
        return {row.id: row.name for row in self._session.execute(query)}

    def note_use(self, used: Mapping[str, datetime]) -> None:
        """Store when keys were last used."""
        for key_id, at in sorted(used.items()):
            before = or_(ApiKey.last_used_at.is_(None), ApiKey.last_used_at < at)
            self._session.execute(
                update(ApiKey).where(ApiKey.id == key_id, before).values(last_used_at=at)
            )

    def revoke(self, key_id: str, now: datetime) -> ApiKey:
        """Revoke a key and end its browser sessions. Raises KeyNotFoundError."""
        self._session.execute(select(ApiKey.id).order_by(ApiKey.id).with_for_update())
        key = load_row(self._session, ApiKey, key_id, KeyNotFoundError.what)
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


def _valid(now: datetime) -> ColumnElement[bool]:
    """Condition on a key: it was not revoked, and has not expired."""
    lasts = or_(ApiKey.expires_at.is_(None), ApiKey.expires_at > now)
    return and_(ApiKey.revoked_at.is_(None), lasts)
