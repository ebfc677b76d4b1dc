"""Events as they are streamed: the text of a server-sent event for each row."""

from collections.abc import Iterable
from typing import NamedTuple

from service.db.tables import Event
from service.logs import warn_in_a_line
from service.schemas.jobs import EventView


class Message(NamedTuple):
    """An event as it is streamed."""

    seq: int
    job_id: str
    text: str
    ends_job: bool


def messages_of(rows: Iterable[Event]) -> list[Message]:
    """Return events as they are streamed, without those whose data no client could read."""
    messages = []
    for row in rows:
        try:
            messages.append(_message(EventView.model_validate(row)))
        except ValueError as error:  # what no view has, or what is no Unicode
            event = "event streams: an event is damaged, it is left out"
            warn_in_a_line(__name__, event, error, seq=str(row.seq), job_id=str(row.job_id))
    return messages


def _message(event: EventView) -> Message:
    """Return one event as it is streamed. Raises ValueError if it is damaged."""
    text = f"id: {event.seq}\nevent: {event.type}\ndata: {event.model_dump_json()}\n\n"
    text.encode()  # a lone surrogate would end the stream while it is sent
    return Message(event.seq, str(event.job_id), text, event.type == "job.ended")
