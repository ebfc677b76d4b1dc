"""Idempotency keys: which resource a request under a key created."""

from sqlalchemy.orm import Session

from service.db.access_tables import IdempotencyKey
from service.db.repositories.upsert import insert_if_new


class IdempotencyRepository:
    """Stores and finds idempotency keys."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def find(self, key: str, route: str) -> IdempotencyKey | None:
        """Return the stored key of this route, or None if it is new."""
        return self._session.get(IdempotencyKey, (key, route))

    def add(self, key: IdempotencyKey) -> bool:
        """Store the key; return False if another request has just stored it."""
        columns = IdempotencyKey.__table__.columns.keys()
        values = {name: getattr(key, name) for name in columns}
        return insert_if_new(self._session, IdempotencyKey, values)
