"""One kept connection to an agent: a POST and its whole answer, within a time."""

import http.client
import socket
import time
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import urlsplit

_CONNECT = 5.0  # s
_PIECE = 1 << 20  # bytes read at a time
_ANSWER_MAX = 2 << 30  # bytes


class UnreachableError(Exception):
    """Nobody listens there."""


class BrokenLineError(Exception):
    """An answer broke off, or is none."""


class TooLateError(Exception):
    """The time was over before the answer was there."""


class RawAnswer(NamedTuple):
    """As it came."""

    status: int
    headers: http.client.HTTPMessage
    content: bytes


class Connection:
    """Opened when it is needed, again after it broke. Used by one thread.

    The standard library's client, because a call costs the process a tenth of what it costs with a
    client that can do everything.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._path = parts.path.rstrip("/")
        secure = parts.scheme == "https"
        kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
        self._line = kind(parts.hostname or "", parts.port, timeout=_CONNECT)

    def post(
        self, path: str, content: bytes, headers: Mapping[str, str], deadline: float
    ) -> RawAnswer:
        """Raises UnreachableError, BrokenLineError and TooLateError."""
        try:
            self._open(deadline)
            self._line.request("POST", self._path + path, content, dict(headers))
            return self._answer(deadline)
        except TimeoutError as error:
            self.close()
            raise TooLateError(str(error) or "timed out") from error
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise BrokenLineError(str(error) or type(error).__name__) from error
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self._line.close()

    def _open(self, deadline: float) -> None:
        left = deadline - time.monotonic()
        if self._line.sock is None:
            self._line.timeout = max(0.001, min(left, _CONNECT))
            try:
                self._line.connect()
            except (OSError, http.client.HTTPException) as error:
                raise UnreachableError(str(error) or type(error).__name__) from error
            if self._line.sock is not None:
                _keep_alive(self._line.sock)
        self._wait_until(deadline)

    def _answer(self, deadline: float) -> RawAnswer:
        response = self._line.getresponse()
        parts, size = [], 0
        while part := response.read1(_PIECE):
            size += len(part)
            if size > _ANSWER_MAX:
                raise BrokenLineError(f"more than {_ANSWER_MAX} bytes")
            parts.append(part)
            self._wait_until(deadline)
        response.close()  # else the next call finds the line occupied
        if response.length:  # what was announced and did not come
            raise BrokenLineError(f"{response.length} bytes are missing")
        return RawAnswer(response.status, response.headers, b"".join(parts))

    def _wait_until(self, deadline: float) -> None:
        left = deadline - time.monotonic()
        if left <= 0:
            raise TooLateError("timed out")
        if self._line.sock is not None:  # else the last piece is read
            self._line.sock.settimeout(left)


def _keep_alive(line: socket.socket) -> None:
    """Send at once, and notice within half a minute when the other machine is gone."""
    line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    line.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if hasattr(socket, "TCP_KEEPIDLE"):
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 10)
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5)
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 4)
