"""The table of the audit trail."""

from datetime import datetime

from sqlalchemy import BigInteger, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from service.db.base import Base, Id, Json, Sha256

_INDEXED = ("action", "subject", "key_id", "address", "created_at")


class AuditEvent(Base):
    """One change: who made it, from where, and the digest that chains it to the event before.

    Triggers of the database refuse to change or delete a row.
    """

    __tablename__ = "audit_events"
    __table_args__ = tuple(Index(f"ix_audit_events_{name}", name, "seq") for name in _INDEXED)

    seq: Mapped[int] = mapped_column(BigInteger(), primary_key=True, autoincrement=False)
    action: Mapped[str] = mapped_column(String(40))  # such as chip.renamed
    subject: Mapped[str | None]  # id of what was changed
    key_id: Mapped[str | None] = mapped_column(Id)  # None: nobody signed in, or the service itself
    address: Mapped[str | None] = mapped_column(String(60))  # of the client; None: the service
    data: Mapped[Json]
    created_at: Mapped[datetime]
    previous: Mapped[str] = mapped_column(Sha256)  # digest of the event before
    sha256: Mapped[str] = mapped_column(Sha256)
