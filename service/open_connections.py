"""The open connections of one server, counted by address, and which one gives way to a new one.

The number of connections is bounded by the descriptors that jobs leave, and for each address.
"""

import resource
from collections import Counter
from collections.abc import Callable
from http import HTTPStatus
from itertools import chain
from typing import NamedTuple, Protocol

import structlog

_DESCRIPTORS_KEPT = 256  # for the database, jobs, their child processes and files
_LOGGED_EVERY_S = 10.0  # refused connections are logged no more often
_log = structlog.get_logger(__name__)


class ConnectionLimits(NamedTuple):
    """How much a client may send, and how slowly."""

    connections: int = 1024  # in all; at most the descriptors that jobs do not need
    connections_per_address: int = 640
    header_bytes: int = 32 * 1024
    # From the connection, TLS included, or the first byte of a later request, to its body.
    header_s: float = 10.0
    body_bytes_per_s: float = 1024.0  # mean over `body_check_s`
    body_check_s: float = 10.0


class Connection(Protocol):
    """One connection, as far as the count of them needs to know it."""

    address: str

    def refuse(self, status: HTTPStatus, reason: str) -> None:
        """Say why, and close the connection."""


class OpenConnections:
    """The open connections of one server, by address; the oldest one that waits gives way.

    Those whose last request had a key give way after all others: a stranger who opens connections
    without end does not close the idle ones of clients.
    """

    def __init__(self, limits: ConnectionLimits) -> None:
        self.limits = limits
        descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._most = min(limits.connections, max(1, descriptors - _DESCRIPTORS_KEPT))
        self._addresses: Counter[str] = Counter()
        # Connections without a whole header, oldest first; a dict keeps their order.
        self._waiting: dict[Connection, None] = {}
        self._waiting_with_key: dict[Connection, None] = {}
        self._refused, self._logged_at = 0, 0.0

    def opened(self, connection: Connection) -> bool:
        """Count a connection; return False where it has to be refused."""
        address = connection.address
        self._addresses[address] += 1
        self._waiting[connection] = None
        if self._addresses[address] > self.limits.connections_per_address:
            return self._make_room(connection, lambda other: other.address == address)
        if self._addresses.total() > self._most:
            return self._make_room(connection, lambda _: True)
        return True

    def closed(self, connection: Connection) -> None:
        """Forget a connection."""
        self.works(connection)
        self._addresses[connection.address] -= 1
        if self._addresses[connection.address] <= 0:
            del self._addresses[connection.address]

    def waits(self, connection: Connection, *, had_key: bool) -> None:
        """Note that a connection waits for a header, and whether its last request had a key."""
        place, other = self._waiting, self._waiting_with_key
        if had_key:
            place, other = other, place
        other.pop(connection, None)
        place.setdefault(connection)

    def works(self, connection: Connection) -> None:
        """Note that a connection has a request to be answered, or does not wait for one."""
        self._waiting.pop(connection, None)
        self._waiting_with_key.pop(connection, None)

    def log_refusal(self, reason: str, address: str, now: float) -> None:
        """Log refused connections, several in one line: a stranger must not fill the log."""
        self._refused += 1
        if now - self._logged_at >= _LOGGED_EVERY_S:
            _log.warning("http: connections refused", number=self._refused, last=reason, by=address)
            self._refused, self._logged_at = 0, now

    def _make_room(self, newcomer: Connection, suits: Callable[[Connection], bool]) -> bool:
        """Close the connection that has waited longest for a header, if there is one."""
        waiting = chain(self._waiting, self._waiting_with_key)
        oldest = next((c for c in waiting if c is not newcomer and suits(c)), None)
        if oldest is None:
            return False
        oldest.refuse(HTTPStatus.REQUEST_TIMEOUT, "too many connections wait")
        return True
