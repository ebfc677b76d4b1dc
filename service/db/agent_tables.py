"""The table of chip agents."""

from datetime import datetime

from sqlalchemy import ForeignKey, String, false
from sqlalchemy.orm import Mapped, mapped_column

from service.db.base import Base, Id, Json, Sha256


class Agent(Base):
    """The agent of a chip, its address, and until when it counts as alive."""

    __tablename__ = "agents"

    id: Mapped[str] = mapped_column(Id, primary_key=True)  # chosen by the agent
    chip_id: Mapped[str] = mapped_column(ForeignKey("chips.id"), unique=True)
    url: Mapped[str] = mapped_column(String(500))
    # Both ends prove that they know it; an agent that signs nothing is sent it.
    encrypted_secret: Mapped[str | None] = mapped_column(String(400))
    secret: Mapped[str] = mapped_column(default="")  # in clear by earlier releases, else empty
    version: Mapped[str] = mapped_column(String(60))
    limits: Mapped[Json]  # how long its answers may take
    signed: Mapped[bool] = mapped_column(server_default=false())  # whether it knows signed calls
    key_id: Mapped[str | None] = mapped_column(Id)  # the API key that it belongs to
    # Of its own credential: of the last one given, and of the one that it has shown last.
    credential_sha256: Mapped[str | None] = mapped_column(Sha256)
    former_sha256: Mapped[str | None] = mapped_column(Sha256)
    registered_at: Mapped[datetime]
    heartbeat_at: Mapped[datetime]
    alive_until: Mapped[datetime]
    call_times: Mapped[
        Json | None
    ]  # per verb: calls and seconds, in the last attempt that drove the chip
