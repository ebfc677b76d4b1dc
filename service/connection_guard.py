"""Limits of connections and of what arrives on them, held before a request is read.

uvicorn bounds neither the number of connections, nor the size of a header block, nor the time that
a client takes. `guarded` returns uvicorn's protocol with these bounds, so that a client without a
key can take neither descriptors nor memory from jobs and from other clients.
"""

import asyncio
import ssl
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, ClassVar

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from service.open_connections import ConnectionLimits, OpenConnections

_LEFT_OVER_BYTES = 2**20  # of a body whose answer was sent, before the connection is closed
_GOODBYE_S = 1.0  # for a client to confirm the end of TLS
WITH_KEY = "principal"  # in the state of a request whose key is right


class _TooLargeError(Exception):
    """Ends the parsing of a header block that is too large."""


class GuardedProtocol(HttpToolsProtocol):
    """One connection to uvicorn, within limits; `guarded` makes the class for one server."""

    open_connections: ClassVar[OpenConnections]
    tls: ClassVar[ssl.SSLContext | None] = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._open, self._limits = self.open_connections, self.open_connections.limits
        self.address = ""
        self._in_header = True
        self._header_bytes = 0
        self._body_bytes = self._left_over = 0
        self._timer: asyncio.TimerHandle | None = None
        self._refused = self._lost = self._had_key = False
        self._securing: asyncio.Task[None] | None = None
        self._early = b""  # what arrived before the end of the handshake was noticed

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Count the connection, and expect a header in time."""
        super().connection_made(transport)
        self.address = self.client[0] if self.client else ""
        self._after(self._limits.header_s, self._header_is_late)
        if not self._open.opened(self):
            self.refuse(HTTPStatus.SERVICE_UNAVAILABLE, "too many connections")
        elif self.tls is not None:
            self._securing = self.loop.create_task(self._secure(transport, self.tls))

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        if self._lost:
            return
        self._lost = True
        self._stop_timer()
        self._open.closed(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what arrives, unless the header block is too large."""
        if self._securing is not None:
            self._early += data
            return
        if self._refused:
            return
        super().data_received(data)
        if self._in_header:
            self._header_bytes += len(data)
            if self._header_bytes > self._limits.header_bytes:
                self._refuse_header()

    def send_400_response(self, msg: str) -> None:
        """Answer a request that is no HTTP; or one whose header block is too large."""
        if self._header_bytes > self._limits.header_bytes:
            self._refuse_header()
        elif not self._refused:
            self._refused = True
            super().send_400_response(msg)

    def on_message_begin(self) -> None:
        """Expect the rest of a header in time."""
        super().on_message_begin()
        self._in_header, self._header_bytes = True, 0
        self._open.waits(self, had_key=self._had_key)
        if self._timer is None:
            self._after(self._limits.header_s, self._header_is_late)

    def on_url(self, url: bytes) -> None:
        """Count the bytes of the target."""
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Count the bytes of a header."""
        self._count(len(name) + len(value))
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Expect the body, if there is one, at a minimum rate."""
        self._in_header, self._body_bytes, self._left_over = False, 0, 0
        self._open.works(self)
        self._after(self._limits.body_check_s, self._check_rate)
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Count the bytes of a body; read little of one that was answered before its end."""
        self._body_bytes += len(body)
        self._left_over += len(body) if self.cycle.response_complete else 0
        if self._left_over > _LEFT_OVER_BYTES:
            self.transport.close()
            return
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Expect nothing more of this request."""
        self._stop_timer()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Let the connection give way to others until its next request begins."""
        super().on_response_complete()
        if self.cycle is not None and self.cycle.response_complete:
            self._had_key = WITH_KEY in self.cycle.scope.get("state", {})
            self._open.waits(self, had_key=self._had_key)

    def refuse(self, status: HTTPStatus, reason: str) -> None:
        """Say why, and close the connection."""
        if self._refused:
            return
        self._refused = True
        self._stop_timer()
        self._open.works(self)  # many come at once: each makes another one give way
        self._open.log_refusal(reason, self.address, self.loop.time())
        if self._securing is not None:
            self.transport.abort()
            return
        if self.cycle is None or not self.cycle.response_started:
            self.transport.write(_answer(status, reason))
        self.transport.close()

    async def _secure(self, transport: asyncio.Transport, tls: ssl.SSLContext) -> None:
        """Do the handshake of a connection that is counted already, then serve it.

        uvicorn's own way counts a connection after its handshake, for which it has a minute.
        """
        if self._refused:  # it had to give way before its turn: nothing would end the handshake
            return
        try:
            secured = await self.loop.start_tls(
                transport,
                self,
                tls,
                server_side=True,
                ssl_handshake_timeout=self._limits.header_s,
                ssl_shutdown_timeout=_GOODBYE_S,
            )
        except OSError as error:
            transport.abort()
            self.connection_lost(error)
            return
        self._securing = None
        if not isinstance(secured, asyncio.Transport):  # it ended in the handshake
            self.connection_lost(None)
            return
        super().connection_made(secured)
        if self._early:
            self.data_received(self._early)

    def _count(self, size: int) -> None:
        """Count bytes of one header. Raises _TooLargeError, which ends the parser's work."""
        self._header_bytes += size
        if self._header_bytes > self._limits.header_bytes:
            raise _TooLargeError

    def _refuse_header(self) -> None:
        status = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
        self.refuse(status, f"the header is larger than {self._limits.header_bytes} bytes")

    def _header_is_late(self) -> None:
        self._timer = None
        late = f"no whole header within {self._limits.header_s:g} s"
        self.refuse(HTTPStatus.REQUEST_TIMEOUT, late)

    def _check_rate(self) -> None:
        """Refuse a body that arrives too slowly, if it is not ourselves who read it slowly."""
        self._timer = None
        slow = self._body_bytes < self._limits.body_bytes_per_s * self._limits.body_check_s
        if slow and not self.flow.read_paused:
            rate = self._limits.body_bytes_per_s
            self.refuse(HTTPStatus.REQUEST_TIMEOUT, f"fewer than {rate:g} bytes a second")
            return
        self._body_bytes = 0
        self._after(self._limits.body_check_s, self._check_rate)

    def _after(self, seconds: float, then: Callable[[], None]) -> None:
        self._stop_timer()
        self._timer = self.loop.call_later(seconds, then)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def guarded(
    limits: ConnectionLimits, tls_context: ssl.SSLContext | None = None
) -> type[asyncio.Protocol]:
    """Return the class that uvicorn's `Config(http=...)` makes its connections of.

    With TLS it needs the loop of `tls.event_loop`.
    """

    class Connection(GuardedProtocol):
        open_connections = OpenConnections(limits)
        tls = tls_context

    return Connection


def _answer(status: HTTPStatus, reason: str) -> bytes:
    body = f"{status.phrase}: {reason}.\n".encode()
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\ncontent-type: text/plain; charset=utf-8\r\n"
        f"content-length: {len(body)}\r\nretry-after: 10\r\nconnection: close\r\n\r\n"
    )
    return head.encode() + body
