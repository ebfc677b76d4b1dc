"""One kept HTTP connection to an agent: a POST and its answer, before a deadline."""

import http.client
import socket
import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, cast
from urllib.parse import urlsplit

from service.bench.driver.bounded_reader import (
    AnswerTimeoutError,
    AnswerTooLongError,
    BoundedReader,
    set_timeout,
)
from service.bench.protocol.errors import BrokenConnectionError
from service.networks import AgentNetworks, ForbiddenAddressError
from service.tls import TlsFilesError, client_context

_CONNECT_TIMEOUT = 5.0  # s
_ONE_PIECE_MAX = 1 << 16  # bytes of a content that leaves in one piece with the head
_READ_SIZE = 1 << 20  # bytes
_HEAD_MAX = 64 * 1024  # bytes of status, headers and interim answers
_REFUSAL_MAX = 64 * 1024  # bytes of an answer that says why a call was not done
_OK = 200


class UnreachableError(Exception):
    """No connection to the agent could be opened."""


class PostRequest(NamedTuple):
    """One POST, the same in every try."""

    path: str
    content: bytes
    headers: Mapping[str, str]
    deadline: float  # on the monotonic clock, s
    answer_max: int = _REFUSAL_MAX  # bytes of an answer with status 200


class RawAnswer(NamedTuple):
    """A whole HTTP answer as it arrived; nothing in it has been checked."""

    status: int
    headers: http.client.HTTPMessage
    content: bytes


class AnswerStream:
    """An HTTP answer that is read while it arrives. Its owner reads it to the end or closes it."""

    def __init__(self, connection: "Connection", sock: socket.socket, request: PostRequest) -> None:
        self._connection = connection
        self._reader = BoundedReader(sock, request.deadline, _HEAD_MAX)
        # It reads from `makefile` alone.
        self._response = http.client.HTTPResponse(cast(socket.socket, self._reader), method="POST")
        try:
            self._response.begin()
        except BaseException:
            self._response.close()
            raise
        self._max = request.answer_max if self.status == _OK else _REFUSAL_MAX
        self._reader.allow(self._max + _HEAD_MAX)  # with the frame of each chunk

    @property
    def status(self) -> int:
        """HTTP status code."""
        return self._response.status

    def header(self, name: str) -> str:
        """Return a header of the answer, empty if there is none."""
        return self._response.headers.get(name, "")

    def read(self, size: int) -> bytes:
        """Read `size` bytes, or none at the end of the answer.

        Raises BrokenConnectionError, AnswerTimeoutError and AnswerTooLongError.
        """
        with _connection_errors(self._connection):
            if size > self._max:
                raise AnswerTooLongError
            content = b"".join(self._pieces(size))
            if content and len(content) < size:
                raise BrokenConnectionError(f"{size - len(content)} bytes are missing")
            return content

    def read_rest(self) -> RawAnswer:
        """Read what is left, and close; return the whole answer.

        Raises BrokenConnectionError, AnswerTimeoutError and AnswerTooLongError.
        """
        with _connection_errors(self._connection):
            content = b"".join(self._pieces(self._max + 1))
            if len(content) > self._max:
                raise AnswerTooLongError
        answer = RawAnswer(self.status, self._response.headers, content)
        self.close()
        return answer

    def close(self) -> None:
        """Close the answer; the connection is kept if all of the answer was read."""
        whole = self._response.isclosed() or self._response.length == 0
        if not whole or self._response.will_close:
            self._connection.close()
        self._response.close()

    def _pieces(self, size: int) -> Iterator[bytes]:
        while size > 0 and (piece := self._response.read1(min(size, _READ_SIZE))):
            size -= len(piece)
            yield piece
        if size > 0 and self._response.length:  # announced, but it did not arrive
            raise BrokenConnectionError(f"{self._response.length} bytes are missing")


class Connection:
    """A connection that opens when it is needed, and again after it broke. Used by one thread.

    It is written on sockets because head and content leave together, so that the agent wakes once:
    a call takes a quarter of the processor time that it takes with a general HTTP client.
    """

    def __init__(self, url: str, networks: AgentNetworks, authority: Path | None = None) -> None:
        """Call `url`, if it lies in one of the networks when a connection is opened.

        With an `authority`, only https is called, and only its certificates are trusted.
        """
        self._networks, self._authority = networks, authority
        self._tls: ssl.SSLContext | None = None
        self._socket: socket.socket | None = None
        self.move_to(url)

    def move_to(self, url: str) -> None:
        """Call this URL from the next POST on."""
        self.close()
        parts = urlsplit(url)
        self._secure = parts.scheme == "https"
        self._host, self._path = parts.hostname or "", parts.path.rstrip("/")
        self._port = parts.port or (443 if self._secure else 80)
        self._host_header = parts.netloc.rpartition("@")[2]

    def post(self, request: PostRequest) -> RawAnswer:
        """Send a POST and return its whole answer.

        Raises UnreachableError, BrokenConnectionError, AnswerTimeoutError and AnswerTooLongError.
        """
        return self.post_streamed(request).read_rest()

    def post_streamed(self, request: PostRequest) -> AnswerStream:
        """Send a POST and return its answer as soon as its head has arrived.

        Raises UnreachableError, BrokenConnectionError, AnswerTimeoutError and AnswerTooLongError.
        """
        with _connection_errors(self):
            sock = self._open(request.deadline)
            head = self._head(request)
            if len(request.content) <= _ONE_PIECE_MAX:
                _send(sock, head + request.content, request.deadline)
            else:
                _send(sock, head, request.deadline)
                _send(sock, request.content, request.deadline)
            return AnswerStream(self, sock, request)

    def close(self) -> None:
        """Close the socket; the next POST opens another."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _head(self, request: PostRequest) -> bytes:
        length = str(len(request.content))
        headers = {"Host": self._host_header, **request.headers, "Content-Length": length}
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        return f"POST {self._path}{request.path} HTTP/1.1\r\n{lines}\r\n".encode("latin-1")

    def _open(self, deadline: float) -> socket.socket:
        if self._socket is None:
            try:
                self._socket = self._connected(deadline)
            except (OSError, ForbiddenAddressError, TlsFilesError) as error:
                raise UnreachableError(str(error) or type(error).__name__) from error
            _set_options(self._socket)
        set_timeout(self._socket, deadline)
        return self._socket

    def _connected(self, deadline: float) -> socket.socket:
        """Open a socket to the first address that answers. Raises what `_open` catches."""
        if self._authority is not None and not self._secure:
            raise ForbiddenAddressError("it is called by https alone")
        refused: OSError = ConnectionRefusedError(f"{self._host} has no address")
        for address in self._networks.resolve(self._host, self._port):
            left = max(0.001, min(_CONNECT_TIMEOUT, deadline - time.monotonic()))
            try:
                opened = socket.create_connection((address, self._port), left)
            except OSError as error:
                refused = error
                continue
            return self._secured(opened) if self._secure else opened
        raise refused

    def _secured(self, opened: socket.socket) -> socket.socket:
        """Do the handshake, as long as the connection may take. Raises OSError, TlsFilesError."""
        try:
            self._tls = self._tls or client_context(self._authority)
            return self._tls.wrap_socket(opened, server_hostname=self._host)
        except BaseException:
            opened.close()
            raise


@contextmanager
def _connection_errors(connection: Connection) -> Iterator[None]:
    """Close the connection on any error, and raise errors of sockets as those of this module."""
    try:
        yield
    except TimeoutError as error:
        connection.close()
        raise AnswerTimeoutError("timed out") from error
    except OSError as error:
        connection.close()
        raise BrokenConnectionError(error.strerror or type(error).__name__) from error
    except (http.client.HTTPException, ValueError):
        # What the parser found wrong quotes the answer, which may be that of any server.
        connection.close()
        raise BrokenConnectionError("it is no whole HTTP answer") from None
    except BaseException:
        connection.close()
        raise


def _send(sock: socket.socket, content: bytes, deadline: float) -> None:
    """Send all of the content before the deadline, which holds for all pieces together."""
    view = memoryview(content)
    while view:
        set_timeout(sock, deadline)
        view = view[sock.send(view) :]


def _set_options(sock: socket.socket) -> None:
    """Send without delay, and notice within half a minute when the other machine is gone."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if hasattr(socket, "TCP_KEEPIDLE"):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 10)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 4)
