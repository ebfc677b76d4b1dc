"""The binary protocol of the chip, for both ends of the line. All numbers are little-endian.

A frame is a header, a payload and the CRC-32 of both. A request that is sent again with the same
sequence number gets the same answer: nothing is done twice.
"""

import struct
import zlib
from collections.abc import Callable
from enum import IntEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

REQUEST, ANSWER = 0xC5, 0x5C  # the first byte of a frame
LONGEST = 2**20  # bytes of a payload
WEIGHT_MAX = 7  # codes run from -7 to 7, in four bits

_HEADER = struct.Struct("<BBHI")  # first byte, command or status, sequence number, length
_CRC = struct.Struct("<I")
_HELLO = struct.Struct("<16s16sIBHH16s")  # the fields of Hello

HOST_BYTES = 8  # of the name of a host
COUNTERS = struct.Struct("<QQ")  # nanoseconds of the chip's clock, cells written in its life
SLOT = struct.Struct("<BHHfff?")  # slot, columns, rows, threshold, decay, full scale, readout
WRITE = struct.Struct("<BHHH")  # slot, first column, columns, rows; then codes, two in a byte
RUN = struct.Struct("<BHHH?f")  # slot, steps, vectors, samples timed, held, input of one code


class Command(IntEnum):
    """What the chip can be asked."""

    HELLO = 1  # 8 bytes that name the host; answers Hello
    COUNTERS = 2
    PLACE = 3  # 16 bytes that name a network: clears all cells and registers
    CONFIGURE = 4  # SLOT: the registers of one layer; its cells stay
    WRITE = 5  # writes the cells whose code changes
    READ = 6  # WRITE without codes; answers the codes
    BIAS = 7  # slot, then one int16 for each column, in 1/128 of the threshold
    RUN = 8  # RUN, then int8 inputs; answers bits of spikes, of a readout its float32 sums
    WAIT = 9  # nanoseconds, uint64


class Status(IntEnum):
    """How a request ended."""

    DONE = 0
    REFUSED = 1  # the payload is a sentence


class Frame(NamedTuple):
    """A request or an answer; `code` is a command or a status."""

    code: int
    sequence: int
    payload: bytes


class Hello(NamedTuple):
    """What a chip says of itself: who it is, how large, and which network stands on it."""

    serial: str
    model: str
    boots: int  # since it was made
    slots: int
    rows: int
    columns: int
    network: bytes  # 16, all zero before the first PLACE

    def to_bytes(self) -> bytes:
        """Return the payload of the answer to HELLO."""
        return _HELLO.pack(self.serial.encode(), self.model.encode(), *self[2:])


class GarbledError(Exception):
    """What came over the line is no frame."""


def to_hello(payload: bytes) -> Hello:
    """Read the answer to HELLO. Raises GarbledError if it has another length."""
    if len(payload) != _HELLO.size:
        raise GarbledError(f"the answer to HELLO has {len(payload)} bytes, not {_HELLO.size}")
    serial, model, *numbers = _HELLO.unpack(payload)
    words = (text.rstrip(b"\0").decode(errors="replace") for text in (serial, model))
    return Hello(*words, *numbers)


def to_bytes(first: int, frame: Frame) -> bytes:
    """Return a frame as it is sent."""
    header = _HEADER.pack(first, frame.code, frame.sequence, len(frame.payload))
    return header + frame.payload + _CRC.pack(zlib.crc32(header + frame.payload))


def read_frame(receive: Callable[[int], bytes], first: int) -> Frame:
    """Read a frame; `receive` returns exactly so many bytes. Raises GarbledError."""
    header = receive(_HEADER.size)
    begins, code, sequence, length = _HEADER.unpack(header)
    if begins != first or length > LONGEST:
        raise GarbledError(f"a frame begins with {header.hex()}")
    payload = receive(length)
    if _CRC.unpack(receive(_CRC.size))[0] != zlib.crc32(header + payload):
        raise GarbledError("a frame does not match its CRC")
    return Frame(code, sequence, payload)


def pack_codes(codes: NDArray[np.int8]) -> bytes:
    """Return codes of -7 to 7, two in a byte."""
    flat = (codes.ravel() + 8).astype(np.uint8)
    if flat.size % 2:
        flat = np.append(flat, np.uint8(8))
    return (flat[::2] | flat[1::2] << 4).tobytes()


def unpack_codes(data: bytes, columns: int, rows: int) -> NDArray[np.int8]:
    """Return codes [column, row] that `pack_codes` packed."""
    packed = np.frombuffer(data, np.uint8)
    flat = np.stack((packed & 15, packed >> 4), 1).ravel()[: columns * rows]
    return (flat.astype(np.int8) - 8).reshape(columns, rows)
