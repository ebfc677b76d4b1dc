"""A request that is sent twice makes one thing: Idempotency-Key."""

import hashlib
from datetime import datetime
from typing import Annotated

from fastapi import Header
from pydantic import BaseModel
from sqlalchemy.orm import Session

from service.db import locks
from service.db.repositories.access import IdempotencyRepository
from service.db.tables import IdempotencyKey
from service.errors import ConflictError, IdempotencyMismatchError

KeyHeader = Annotated[str | None, Header(alias="Idempotency-Key", min_length=1, max_length=200)]


class Once:
    """One request under its key, or under none: then it is new every time."""

    def __init__(
        self, session: Session, route: str, key: str | None, body: BaseModel | str
    ) -> None:
        if key is not None:
            locks.hold(session, f"once {route} {key}")  # the second waits for the first
        self._keys = IdempotencyRepository(session)
        self._route = route
        self._key = key
        text = body if isinstance(body, str) else body.model_dump_json()
        self._body_sha256 = hashlib.sha256(text.encode()).hexdigest()

    def made_before(self) -> str | None:
        """What the first request made. Raises IdempotencyMismatchError for another body."""
        found = self._keys.find(self._key, self._route) if self._key is not None else None
        if found is None:
            return None
        if found.body_sha256 != self._body_sha256:
            raise IdempotencyMismatchError(found.key)
        return found.resource_id

    def remember(self, resource_id: str, now: datetime) -> None:
        """What this request made, in the transaction that makes it."""
        if self._key is None:
            return
        row = IdempotencyKey(
            key=self._key,
            route=self._route,
            body_sha256=self._body_sha256,
            resource_id=resource_id,
            created_at=now,
        )
        if not self._keys.add(row):
            raise ConflictError("The same request is being answered right now; try again shortly.")
