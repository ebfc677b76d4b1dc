"""Idempotency keys: which resource a request under a key created."""

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from service.db.access_tables import IdempotencyKey
from service.db.repositories.upsert import insert_all_if_new, insert_if_new


class IdempotencyRepository:
    """Stores and finds idempotency keys."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def find(self, key: str, route: str) -> IdempotencyKey | None:
        """Return the stored key of this route, or None if it is new."""
        return self._session.get(IdempotencyKey, (key, route))

    def find_all(self, keys: Collection[tuple[str, str]]) -> dict[tuple[str, str], IdempotencyKey]:
        """Return those of these keys that are stored; each is a key and its route."""
        query = select(IdempotencyKey).where(IdempotencyKey.key.in_({key for key, _ in keys}))
        found = {(row.key, row.route): row for row in self._session.scalars(query)}
        return {key: row for key, row in found.items() if key in keys}

    def add(self, key: IdempotencyKey) -> bool:
        """Store the key; return False if another request has just stored it."""
        columns = IdempotencyKey.__table__.columns.keys()
        values = {name: getattr(key, name) for name in columns}
        return insert_if_new(self._session, IdempotencyKey, values)

    def add_all(self, rows: Sequence[dict[str, Any]]) -> bool:
        """Store keys; return False if another request has just stored one of them."""
        return insert_all_if_new(self._session, IdempotencyKey, rows)
