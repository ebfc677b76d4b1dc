"""The table of chip agents."""

from datetime import datetime

from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from service.db.base import Base, Id, Json


class Agent(Base):
    """The agent of a chip, its address, and until when it counts as alive."""

    __tablename__ = "agents"

    id: Mapped[str] = mapped_column(Id, primary_key=True)  # chosen by the agent
    chip_id: Mapped[str] = mapped_column(ForeignKey("chips.id"), unique=True)
    url: Mapped[str] = mapped_column(String(500))
    secret: Mapped[str]  # the service sends it to the agent with every call
    version: Mapped[str] = mapped_column(String(60))
    limits: Mapped[Json]  # how long its answers may take
    registered_at: Mapped[datetime]
    heartbeat_at: Mapped[datetime]
    alive_until: Mapped[datetime]
    call_times: Mapped[
        Json | None
    ]  # per verb: calls and seconds, in the last attempt that drove the chip
