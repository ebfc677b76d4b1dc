"""Frames of a streamed answer: read as they were written, or refused."""

import io
import struct

import pytest
import torch

from service.bench.protocol.errors import BrokenConnectionError
from service.bench.protocol.frames import encode_frame, read_frame
from service.bench.protocol.wire import Message, decode

FRAME = encode_frame(Message({"layer": "hidden"}, {"x": torch.arange(3)})).whole()


def test_frames_are_read_one_after_another_until_the_end() -> None:
    read = io.BytesIO(FRAME + FRAME).read
    frames = [read_frame(read) for _ in range(3)]
    assert frames[0] is not None
    assert frames[0] == frames[1]
    assert decode(frames[0].content).fields == {"layer": "hidden"}
    assert frames[2] is None


@pytest.mark.parametrize("place", [10, 45, -1])
def test_a_frame_with_another_byte_is_refused(place: int) -> None:
    damaged = bytearray(FRAME)
    damaged[place] ^= 1
    with pytest.raises(BrokenConnectionError, match="checksum"):
        read_frame(io.BytesIO(bytes(damaged)).read)


def test_a_frame_that_announces_too_much_is_refused_unread() -> None:
    head = io.BytesIO(struct.pack("<Q32s", 1 << 40, b""))
    with pytest.raises(BrokenConnectionError, match="announces"):
        read_frame(head.read)
