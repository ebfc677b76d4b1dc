"""The chain of audit events: each has a digest of itself and of the digest before it.

Whoever changes, removes or inserts an event breaks the chain, or has to compute all digests behind
it anew. The newest digest, noted elsewhere, shows that too.
"""

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from service.digests import sha256_hex

FIRST = "0" * 64  # the digest before the first event


class Link(NamedTuple):
    """What the digest of an event is made of."""

    seq: int
    previous: str  # digest of the event before
    action: str
    subject: str | None
    key_id: str | None
    address: str | None
    data: Mapping[str, Any]  # as JSON, without floats
    created_at: datetime

    @classmethod
    def of(cls, event: object) -> "Link":
        """Read the link from a row or a view, which name its fields alike."""
        return cls(*(getattr(event, name) for name in cls._fields))

    @property
    def sha256(self) -> str:
        """The digest of the event."""
        time = self.created_at.astimezone(UTC).isoformat(timespec="microseconds")
        text = json.dumps([*self[:-1], time], sort_keys=True, separators=(",", ":"))
        return sha256_hex(text.encode())


class Head(NamedTuple):
    """The newest event of a chain: its number and its digest."""

    seq: int
    sha256: str


class BrokenChainError(Exception):
    """An event was changed, removed or inserted."""


EMPTY = Head(0, FIRST)  # of a chain without events


def check_chain(events: Iterable[Any], known: Head | None = None, begin: Head = EMPTY) -> Head:
    """Check all events behind `begin`, oldest first, and return the newest one.

    `known` is a head that was noted earlier: the chain has to run through it. That of an empty
    chain is at the start of every chain. Raises BrokenChainError.
    """
    head = begin
    met = known in (None, EMPTY, head)
    for event in events:
        link = Link.of(event)
        if (link.seq, link.previous) != (head.seq + 1, head.sha256):
            raise BrokenChainError(f"Event {link.seq} does not follow event {head.seq}.")
        if event.sha256 != link.sha256:
            raise BrokenChainError(f"Event {link.seq} was changed.")
        head = Head(link.seq, link.sha256)
        met = met or head == known
    if known is not None and not met:
        raise BrokenChainError(f"Event {known.seq} is missing, or is not the one that was noted.")
    return head
