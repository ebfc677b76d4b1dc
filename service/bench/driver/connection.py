"""One kept connection to an agent: a POST and its whole answer, within a time."""

import http.client
import socket
import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple
from urllib.parse import urlsplit

from service.bench.protocol.frames import BrokenConnectionError

_CONNECT = 5.0  # s
_WHOLE = 1 << 16  # bytes up to which head and body leave in one piece
_PIECE = 1 << 20  # bytes read at a time
_ANSWER_MAX = 2 << 30  # bytes


class UnreachableError(Exception):
    """Nobody listens there."""


class TooLateError(Exception):
    """The time was over before the answer was there."""


class RawAnswer(NamedTuple):
    """As it came."""

    status: int
    headers: http.client.HTTPMessage
    content: bytes


class Reply:
    """An answer as it comes. Whoever has it reads it to its end, or closes it."""

    def __init__(self, connection: "Connection", sock: socket.socket, deadline: float) -> None:
        self._connection, self._socket, self._deadline = connection, sock, deadline
        self._response = http.client.HTTPResponse(sock, method="POST")
        self._response.begin()

    @property
    def status(self) -> int:
        return self._response.status

    @property
    def headers(self) -> http.client.HTTPMessage:
        return self._response.headers

    def read(self, size: int) -> bytes:
        """So many bytes, or none where the answer has ended. Raises as `Connection.post` does."""
        with _connection_errors(self._connection):
            content = b"".join(self._pieces(size))
            if content and len(content) < size:
                raise BrokenConnectionError(f"{size - len(content)} bytes are missing")
            return content

    def rest(self) -> bytes:
        """What is left of it. Raises as `Connection.post` does."""
        with _connection_errors(self._connection):
            content = b"".join(self._pieces(_ANSWER_MAX + 1))
            if len(content) > _ANSWER_MAX:
                raise BrokenConnectionError(f"more than {_ANSWER_MAX} bytes")
            return content

    def close(self) -> None:
        """The connection is kept where all of the answer was read."""
        whole = self._response.isclosed() or self._response.length == 0
        if not whole or self._response.will_close:
            self._connection.close()
        self._response.close()

    def _pieces(self, size: int) -> Iterator[bytes]:
        while size > 0 and (piece := self._response.read1(min(size, _PIECE))):
            size -= len(piece)
            yield piece
            _wait_until(self._socket, self._deadline)
        if size > 0 and self._response.length:  # what was announced and did not come
            raise BrokenConnectionError(f"{self._response.length} bytes are missing")


class Connection:
    """Opened when it is needed, again after it broke. Used by one thread.

    As lean as it can be: head and body leave together, so that the agent is woken once, and a call
    costs the process a quarter of what it costs with a client that can do everything.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        secure = parts.scheme == "https"
        self._host, self._path = parts.hostname or "", parts.path.rstrip("/")
        self._port = parts.port or (443 if secure else 80)
        self._tls = ssl.create_default_context() if secure else None
        self._named = parts.netloc.rpartition("@")[2]
        self._socket: socket.socket | None = None

    def post(
        self, path: str, content: bytes, headers: Mapping[str, str], deadline: float
    ) -> RawAnswer:
        """The whole answer. Raises UnreachableError, BrokenConnectionError and TooLateError."""
        reply = self.ask(path, content, headers, deadline)
        answer = RawAnswer(reply.status, reply.headers, reply.rest())
        reply.close()
        return answer

    def ask(self, path: str, content: bytes, headers: Mapping[str, str], deadline: float) -> Reply:
        """The answer as soon as it begins. Raises as `post` does."""
        with _connection_errors(self):
            sock = self._open(deadline)
            head = self._head(path, headers, len(content))
            if len(content) <= _WHOLE:
                sock.sendall(head + content)
            else:
                sock.sendall(head)
                sock.sendall(content)
            return Reply(self, sock, deadline)

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _head(self, path: str, headers: Mapping[str, str], size: int) -> bytes:
        payload = {"Host": self._named, **headers, "Content-Length": str(size)}
        lines = "".join(f"{name}: {value}\r\n" for name, value in payload.items())
        return f"POST {self._path}{path} HTTP/1.1\r\n{lines}\r\n".encode("latin-1")

    def _open(self, deadline: float) -> socket.socket:
        if self._socket is None:
            left = max(0.001, min(_CONNECT, deadline - time.monotonic()))
            try:
                self._socket = socket.create_connection((self._host, self._port), left)
                if self._tls is not None:
                    self._socket = self._tls.wrap_socket(self._socket, server_hostname=self._host)
            except OSError as error:
                raise UnreachableError(str(error) or type(error).__name__) from error
            _keep_alive(self._socket)
        _wait_until(self._socket, deadline)
        return self._socket


@contextmanager
def _connection_errors(connection: Connection) -> Iterator[None]:
    """What breaks ends the connection, and is payload in the words of this module."""
    try:
        yield
    except TimeoutError as error:
        connection.close()
        raise TooLateError(str(error) or "timed out") from error
    except (OSError, http.client.HTTPException) as error:
        connection.close()
        raise BrokenConnectionError(str(error) or type(error).__name__) from error
    except BaseException:
        connection.close()
        raise


def _wait_until(sock: socket.socket, deadline: float) -> None:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TooLateError("timed out")
    sock.settimeout(left)


def _keep_alive(sock: socket.socket) -> None:
    """Send at once, and notice within half a minute when the other machine is gone."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if hasattr(socket, "TCP_KEEPIDLE"):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 10)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 4)
