"""The table of webhooks: where events are sent, and how far each has come."""

from datetime import datetime

from sqlalchemy import JSON, BigInteger, String
from sqlalchemy.orm import Mapped, mapped_column

from service.db.base import Base, Id

URL_MAX = 500  # characters
ERROR_MAX = 300  # characters


class Webhook(Base):
    """A receiver of events. It gets them one after the other, in the order of their numbers."""

    __tablename__ = "webhooks"

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    url: Mapped[str] = mapped_column(String(URL_MAX))
    events: Mapped[list[str] | None] = mapped_column(JSON(none_as_null=True))  # types; None: most
    encrypted_secret: Mapped[str] = mapped_column(String(400))  # its messages are signed with it
    enabled: Mapped[bool]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    last_seq: Mapped[int] = mapped_column(BigInteger())  # of the last event that is done with
    attempts: Mapped[int]  # at the event that comes next
    tried_since: Mapped[datetime | None]  # the first attempt at that event
    failing_since: Mapped[datetime | None]  # the first failure since the last delivery
    next_try_at: Mapped[datetime]
    delivered_at: Mapped[datetime | None]  # the last delivery
    given_up: Mapped[int]  # events that were refused for too long and left out
    error: Mapped[str | None] = mapped_column(String(ERROR_MAX))  # of the last attempt
    lease: Mapped[int]  # fencing token: raised by whoever begins to send
    leased_until: Mapped[datetime | None]  # until then, another process sends nothing
