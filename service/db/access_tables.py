"""Tables of access: API keys, browser sessions, idempotency keys."""

from datetime import datetime

from sqlalchemy import (
    JSON,
    ForeignKey,
    Index,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from service.db.base import Base, Id, Sha256


class ApiKey(Base):
    """A key of a program or a person, with its scopes."""

    __tablename__ = "api_keys"

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    name: Mapped[str]
    sha256: Mapped[str] = mapped_column(
        Sha256, unique=True
    )  # of the key; the key itself is never stored
    scopes: Mapped[list[str]] = mapped_column(JSON())
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime | None]  # None: never
    revoked_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]  # up to a minute late


class BrowserSession(Base):
    """A browser's login; it ends when its key is revoked, or when it expires."""

    __tablename__ = "browser_sessions"

    sha256: Mapped[str] = mapped_column(Sha256, primary_key=True)  # of the cookie
    key_id: Mapped[str] = mapped_column(ForeignKey("api_keys.id"), index=True)
    expires_at: Mapped[datetime]


PLANNER_KEYS = "route = 'planner'"  # keys of planned jobs, deleted after some days


class IdempotencyKey(Base):
    """Which resource the first request under an Idempotency-Key created."""

    __tablename__ = "idempotency_keys"
    __table_args__ = (
        Index(
            "ix_idempotency_keys_planned",
            "created_at",
            postgresql_where=text(PLANNER_KEYS),
            sqlite_where=text(PLANNER_KEYS),
        ),
    )

    key: Mapped[str] = mapped_column(primary_key=True)
    route: Mapped[str] = mapped_column(primary_key=True)
    body_sha256: Mapped[str] = mapped_column(Sha256)
    resource_id: Mapped[str] = mapped_column(Id)
    created_at: Mapped[datetime]
