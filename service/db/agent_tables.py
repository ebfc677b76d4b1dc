"""The table of chip agents."""

from datetime import datetime

from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from service.db.base import Base, Id, Json


class Agent(Base):
    """Who stands in front of a chip, and until when it is taken for alive."""

    __tablename__ = "agents"

    id: Mapped[str] = mapped_column(Id, primary_key=True)  # the agent's own
    chip_id: Mapped[str] = mapped_column(ForeignKey("chips.id"), unique=True)
    url: Mapped[str] = mapped_column(String(500))
    secret: Mapped[str]  # the service shows it to the agent with every call
    version: Mapped[str] = mapped_column(String(60))
    limits: Mapped[Json]  # how long its answers may take
    registered_at: Mapped[datetime]
    heartbeat_at: Mapped[datetime]
    alive_until: Mapped[datetime]
    call_times: Mapped[Json | None]  # by verb, calls and seconds in the attempt that drove it last
