"""Frames of a streamed answer: each holds one message, with its size and SHA-256 before it."""

import hashlib
import struct
from collections.abc import Callable
from typing import NamedTuple

from service.bench.protocol.errors import BrokenConnectionError
from service.bench.protocol.wire import Body, Message, encode

MEDIA_TYPE = "application/vnd.tandemcal.frames"
_HEAD = struct.Struct("<Q32s")  # bytes of the message, and their SHA-256
_FRAME_MAX = 1 << 31  # bytes


class Frame(NamedTuple):
    """One frame as it arrived; its checksum is right."""

    content: bytes  # of the message
    sha256: bytes


def encode_frame(message: Message) -> Body:
    """Return the message as one frame."""
    body = encode(message)
    return Body((memoryview(_HEAD.pack(body.size, body.sha256)), *body.parts))


def read_frame(read: Callable[[int], bytes]) -> Frame | None:
    """Read the next frame; return None at the end of the answer.

    `read` returns as many bytes as it is asked for, or none at the end. Raises
    BrokenConnectionError, and what `read` raises.
    """
    head = read(_HEAD.size)
    if not head:
        return None
    size, sha256 = _HEAD.unpack(head)
    if size > _FRAME_MAX:
        raise BrokenConnectionError(f"a frame announces {size} bytes, more than {_FRAME_MAX}")
    content = read(size)
    if hashlib.sha256(content).digest() != sha256:
        raise BrokenConnectionError("a frame arrived with a wrong checksum")
    return Frame(content, sha256)
