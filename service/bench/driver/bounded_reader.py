"""Reading of an answer within a number of bytes and before a deadline, both set by the driver."""

import io
import socket
import time
from typing import Any


class AnswerTimeoutError(Exception):
    """The deadline passed before the whole answer arrived."""


class AnswerTooLongError(Exception):
    """An answer has more bytes than the driver reads."""


class BoundedReader(io.RawIOBase):
    """Reads a socket for `http.client`, whose own loops have no bound in bytes or in time.

    Such a loop reads interim answers (`100 Continue`), headers, and trailers of chunks.
    """

    def __init__(self, sock: socket.socket, deadline: float, allowed: int) -> None:
        """`deadline` is on the monotonic clock, in seconds; `allowed` is in bytes."""
        super().__init__()
        self._socket, self._deadline, self._allowed = sock, deadline, allowed

    def allow(self, count: int) -> None:
        """Let the answer go on for so many bytes from here."""
        self._allowed = count

    def makefile(self, _mode: str) -> io.BufferedReader:
        """Return the stream that `http.client` reads."""
        return io.BufferedReader(self)

    def readable(self) -> bool:
        """Say that it can be read."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read what has arrived. Raises AnswerTimeoutError, AnswerTooLongError and OSError."""
        view = memoryview(buffer)
        set_timeout(self._socket, self._deadline)
        count = self._socket.recv_into(view[: self._allowed + 1])
        self._allowed -= count
        if self._allowed < 0:
            raise AnswerTooLongError
        return count


def set_timeout(sock: socket.socket, deadline: float) -> None:
    """Let the next operation of a socket wait until the deadline. Raises AnswerTimeoutError."""
    left = deadline - time.monotonic()
    if left <= 0:
        raise AnswerTimeoutError("timed out")
    sock.settimeout(left)
