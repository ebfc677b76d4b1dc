"""Tables of the processes that run jobs, and of whose jobs they run next."""

from datetime import datetime

from sqlalchemy.orm import Mapped, mapped_column

from service.db.base import Base, Id


class Executor(Base):
    """A process that runs jobs, and its last heartbeat."""

    __tablename__ = "executors"

    id: Mapped[str] = mapped_column(primary_key=True)
    heartbeat_at: Mapped[datetime]
    slots: Mapped[int] = mapped_column(server_default="0")  # how many jobs it runs at once


class KeyTurn(Base):
    """When a job of each API key was last dispatched: the key that waited longest goes first."""

    __tablename__ = "key_turns"

    key_id: Mapped[str] = mapped_column(Id, primary_key=True)  # empty: the service's own jobs
    called_at: Mapped[datetime]
