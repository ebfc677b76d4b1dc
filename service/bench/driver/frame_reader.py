"""One answer, heard piece by piece: each piece once, whatever breaks between two of them."""

from collections.abc import Callable

from service.bench.driver.connection import Reply
from service.bench.protocol.frames import BrokenConnectionError, read_frame
from service.bench.protocol.wire import MalformedBodyError


class FrameReader:
    """Opens the line when a piece is wanted, and again after it broke."""

    def __init__(self, open_response: Callable[[], Reply]) -> None:
        self._open_response = open_response
        self._reply: Reply | None = None
        self._heard: list[bytes] = []  # SHA-256 of each piece so far

    def next(self) -> bytes | None:
        """The bytes of the next message; None after the last.

        What the connection raises leaves the reader where it was: ask again. Raises
        MalformedBodyError where an answer begins otherwise than it began before.
        """
        try:
            reply = self._reply = self._reply or self._again()
            frame = read_frame(reply.read)
        except BaseException:
            self.close()
            raise
        if frame is None:
            self.close()
            return None
        self._heard.append(frame.sha256)
        return frame.content

    def close(self) -> None:
        """What has not been heard yet is not waited for."""
        if self._reply is not None:
            self._reply.close()
            self._reply = None

    def _again(self) -> Reply:
        """Past what was heard already."""
        reply = self._open_response()
        for sha256 in self._heard:
            frame = read_frame(reply.read)
            if frame is None:
                raise BrokenConnectionError("the answer ends before what was heard of it")
            if frame.sha256 != sha256:
                raise MalformedBodyError("asked again it begins with something else")
        return reply
