"""An answer in pieces, each sent as soon as it is there: a size, a checksum, and a message."""

import hashlib
import struct
from collections.abc import Callable
from typing import NamedTuple

from service.bench.protocol.wire import Body, Message, encode

MEDIA_TYPE = "application/vnd.tandemcal.frames"
_HEAD = struct.Struct("<Q32s")  # bytes of the message, and their SHA-256
_FRAME_MAX = 1 << 31  # bytes


class BrokenConnectionError(Exception):
    """An answer broke off, or is none."""


class Frame(NamedTuple):
    """One piece as it arrived, its checksum right."""

    content: bytes  # of the message
    sha256: bytes


def encode_frame(message: Message) -> Body:
    """One piece."""
    body = encode(message)
    return Body((memoryview(_HEAD.pack(body.size, body.sha256)), *body.parts))


def read_frame(read: Callable[[int], bytes]) -> Frame | None:
    """The next piece; None where the answer has ended.

    `read` gives as many bytes as it is asked for, or none at the end.
    Raises BrokenConnectionError, and what `read` raises.
    """
    head = read(_HEAD.size)
    if not head:
        return None
    size, sha256 = _HEAD.unpack(head)
    if size > _FRAME_MAX:
        raise BrokenConnectionError(f"a piece of {size} bytes")
    content = read(size)
    if hashlib.sha256(content).digest() != sha256:
        raise BrokenConnectionError("a piece without its checksum")
    return Frame(content, sha256)
