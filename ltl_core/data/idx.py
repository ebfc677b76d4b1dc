"""Reader of IDX, the format of MNIST (LeCun, Cortes, Burges: THE MNIST DATABASE).

A file holds two zero bytes, a type, the number of dimensions, each extent as a big-endian uint32,
and the elements.
"""

import gzip
import math
import struct
import zlib
from typing import NamedTuple

import torch
from jaxtyping import UInt8
from torch import Tensor

from ltl_core.data.images import Images
from ltl_core.errors import DataFormatError

_UNSIGNED_BYTE = 0x08
_GZIP = b"\x1f\x8b"


def read_idx(data: bytes, source: str) -> UInt8[Tensor, "..."]:
    """Read an IDX file of unsigned bytes, gzipped or plain. Raises DataFormatError."""
    data = _decompressed(data, source)
    shape, start = _header(data, source)
    found, expected = len(data) - start, math.prod(shape)
    if found != expected:
        raise DataFormatError(
            source,
            f"its header announces {expected} elements, but {found} bytes follow; "
            "fetch the whole file again",
        )
    return torch.frombuffer(bytearray(data), dtype=torch.uint8, offset=start).view(shape)


def read_idx_images(
    images: bytes, labels: bytes, source: str, classes: tuple[str, ...] = ()
) -> Images:
    """Read a pair of IDX files, gray images and their labels. Raises DataFormatError."""
    pixels, answers = read_idx(images, f"{source} images"), read_idx(labels, f"{source} labels")
    if pixels.dim() != 3 or answers.dim() != 1 or len(pixels) != len(answers):
        raise DataFormatError(
            source,
            f"pictures of shape {_shape_text(pixels)} and labels of shape {_shape_text(answers)} "
            "do not belong together; give pictures [n, rows, columns] and labels [n]",
        )
    highest = int(answers.max())
    if classes and highest >= len(classes):
        raise DataFormatError(source, f"label {highest} names none of {len(classes)} classes")
    return Images(pixels.unsqueeze(1), answers.long(), classes)


def _decompressed(data: bytes, source: str) -> bytes:
    if not data.startswith(_GZIP):
        return data
    try:
        return gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as error:
        raise DataFormatError(source, f"its gzip stream is damaged ({error})") from error


class _Header(NamedTuple):
    shape: tuple[int, ...]
    size: int  # bytes: the elements begin behind it


def _header(data: bytes, source: str) -> _Header:
    if len(data) < 4 or data[:2] != b"\0\0":
        raise DataFormatError(source, "it does not begin as an IDX file does, with two zero bytes")
    kind, dimensions = data[2], data[3]
    if kind != _UNSIGNED_BYTE:
        raise DataFormatError(source, f"its elements are of type 0x{kind:02x}, not unsigned bytes")
    start = 4 + 4 * dimensions
    if dimensions == 0 or len(data) < start:
        raise DataFormatError(source, f"its header of {dimensions} dimensions is cut short")
    shape = struct.unpack(f">{dimensions}I", data[4:start])
    if 0 in shape:
        raise DataFormatError(source, "it is empty")
    return _Header(shape, start)


def _shape_text(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape))
