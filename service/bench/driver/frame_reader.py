"""Reading a streamed answer frame by frame: each frame once, also if the connection breaks."""

from collections.abc import Callable

from service.bench.driver.connection import AnswerStream
from service.bench.protocol.errors import BrokenConnectionError
from service.bench.protocol.frames import read_frame
from service.bench.protocol.wire import MalformedBodyError


class FrameReader:
    """Opens the answer when a frame is wanted, and again after the connection broke."""

    def __init__(self, open_answer: Callable[[], AnswerStream]) -> None:
        self._open_answer = open_answer
        self._stream: AnswerStream | None = None
        self._read: list[bytes] = []  # SHA-256 of each frame so far

    def next(self) -> bytes | None:
        """Return the content of the next frame, or None after the last.

        Raises what `open_answer` and the stream raise; then the reader stays where it is, and
        `next` may be called again. Raises MalformedBodyError if the answer that is opened again
        does not begin with the frames that were read before.
        """
        try:
            stream = self._stream = self._stream or self._reopen()
            frame = read_frame(stream.read)
        except BaseException:
            self.close()
            raise
        if frame is None:
            self.close()
            return None
        self._read.append(frame.sha256)
        return frame.content

    def close(self) -> None:
        """Close the answer; frames that were not read are dropped."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def _reopen(self) -> AnswerStream:
        """Open the answer and read past the frames that were read before."""
        stream = self._open_answer()
        for sha256 in self._read:
            frame = read_frame(stream.read)
            if frame is None:
                raise BrokenConnectionError(
                    "the repeated answer ends before the frames read so far"
                )
            if frame.sha256 != sha256:
                raise MalformedBodyError("the repeated answer differs from the one before")
        return stream
