"""Messages between a driver and its agent: the body of each is one safetensors block.

Booleans travel as bits and integers in the smallest type that holds them; on arrival every tensor
has the type and shape that it had before. Fields that are no tensors stand in the metadata. Unlike
`ltl_core.packing`, which writes blocks for storage, `encode` does not copy large tensors.
"""

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import safetensors.numpy
import torch
from jaxtyping import Shaped
from numpy.typing import NDArray
from safetensors import SafetensorError
from torch import Tensor

from ltl_core.block_metadata import read_metadata
from ltl_core.errors import CorruptTensorsError
from service.digests import digest_header
from service.errors import ServiceError

MEDIA_TYPE = "application/vnd.safetensors"
LEASE_TOKEN, REQUEST_ID = "Lease-Token", "Request-Id"  # headers of a call
_SLICE = 1 << 20  # bytes in one slice of a body
_ALIGNMENT = 8  # bytes; the safetensors format aligns its header so
_LENGTH = 8  # bytes that give the length of the header
_TEXT_MAX = 16 * 2**20  # bytes of fields and descriptions: read, they take many times as much
_INTEGERS = tuple(map(np.dtype, ("uint8", "int8", "uint16", "int16", "int32", "int64")))
_BOUNDS = [(int(np.iinfo(kind).min), int(np.iinfo(kind).max), kind) for kind in _INTEGERS]
_FLOATS = tuple(map(np.dtype, ("float16", "float32", "float64")))
_NAMES = {kind: f"{kind.kind}{8 * kind.itemsize}".upper() for kind in (*_INTEGERS, *_FLOATS)}
_KINDS: Mapping[str, np.dtype[Any]] = {  # types of tensors before and after they travel
    "bool": np.dtype(bool),
    **{str(kind): kind for kind in (*_INTEGERS, *_FLOATS) if kind != np.uint16},
}
_TYPE_NAMES = {getattr(torch, name): name for name in _KINDS}


class MalformedBodyError(ServiceError):
    """The bytes are no message, or the message cannot be right; `reason` says why."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"This is no message of a chip agent or its driver: {reason}.")
        self.reason = reason


class Message(NamedTuple):
    """One request or one answer: fields of JSON, and tensors."""

    fields: Mapping[str, Any] = {}
    tensors: Mapping[str, Shaped[Tensor, "..."]] = {}

    def tensor(self, name: str) -> Tensor:
        """Return a tensor of the message. Raises MalformedBodyError if it is absent."""
        if name not in self.tensors:
            raise MalformedBodyError(f"it lacks the tensor '{name}'")
        return self.tensors[name]

    def field(self, name: str, kind: type) -> Any:
        """Return a field. Raises MalformedBodyError if it is absent or of another type."""
        value = self.fields.get(name)
        if not isinstance(value, kind) or (kind is not bool and isinstance(value, bool)):
            raise MalformedBodyError(f"it lacks the {kind.__name__} '{name}'")
        return value


class Body(NamedTuple):
    """The bytes of a message, as the buffers that hold them."""

    parts: tuple[memoryview, ...]

    @property
    def size(self) -> int:
        """Length in bytes."""
        return sum(part.nbytes for part in self.parts)

    @property
    def sha256(self) -> bytes:
        """SHA-256 of all bytes."""
        found = hashlib.sha256()
        for part in self.parts:
            found.update(part)
        return found.digest()

    @property
    def digest(self) -> str:
        """Value of the header `Content-Digest`."""
        return digest_header(self.sha256)

    def whole(self) -> bytes:
        """Return all bytes in one piece, as a copy."""
        return b"".join(self.parts)

    def slices(self) -> Iterator[memoryview]:
        """Yield the bytes in slices of at most 1 MiB, without a copy."""
        for part in self.parts:
            for start in range(0, part.nbytes, _SLICE):
                yield part[start : start + _SLICE]


def encode(message: Message) -> Body:
    """Return the bytes of a message; tensors that travel as they are, are not copied.

    Raises MalformedBodyError if a tensor has a type that does not travel.
    """
    types = {name: [_type_name(t), list(t.shape)] for name, t in message.tensors.items()}
    arrays = {name: _as_sent(tensor) for name, tensor in message.tensors.items()}
    order = sorted(arrays, key=lambda name: (-arrays[name].itemsize, name))
    metadata = {"fields": json.dumps(message.fields), "types": json.dumps(types)}
    header: dict[str, Any] = {"__metadata__": metadata}
    offset = 0
    for name in order:
        array = arrays[name]
        header[name] = {
            "dtype": _NAMES[array.dtype],
            "shape": list(array.shape),
            "data_offsets": [offset, offset + array.nbytes],
        }
        offset += array.nbytes
    buffers = (_buffer(arrays[name]) for name in order if arrays[name].nbytes)
    return Body((_head(header), *buffers))


def decode(data: bytes, text_max: int = _TEXT_MAX) -> Message:
    """Read the message that `encode` wrote, with at most `text_max` bytes of text.

    Raises MalformedBodyError, which quotes nothing: the bytes may be those of any server.
    """
    if int.from_bytes(data[:_LENGTH], "little") > text_max:
        raise MalformedBodyError(f"it is no safetensors block with {text_max} bytes of text")
    try:
        arrays = safetensors.numpy.load(data)
        metadata = read_metadata(data)
        fields, types = json.loads(metadata["fields"]), json.loads(metadata["types"])
    except (SafetensorError, CorruptTensorsError, ValueError, KeyError, RecursionError):
        raise MalformedBodyError("it is no safetensors block") from None
    if not isinstance(fields, dict) or not isinstance(types, dict) or set(types) != set(arrays):
        raise MalformedBodyError("its metadata does not belong to its tensors")
    return Message(fields, {name: _as_received(arrays[name], types[name]) for name in arrays})


def _head(header: Mapping[str, Any]) -> memoryview:
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    return memoryview(len(text).to_bytes(_LENGTH, "little") + text)


def _buffer(array: NDArray[Any]) -> memoryview:
    flat: Any = array.reshape(-1)
    return memoryview(flat).cast("B")


def _type_name(tensor: Tensor) -> str:
    if tensor.dtype not in _TYPE_NAMES:
        raise MalformedBodyError(f"tensors of type {tensor.dtype} do not travel")
    return _TYPE_NAMES[tensor.dtype]


def _as_sent(tensor: Tensor) -> NDArray[Any]:
    array: NDArray[Any] = tensor.detach().cpu().contiguous().numpy()
    if array.dtype == np.bool_:
        return np.packbits(array)
    return _narrowed(array) if array.dtype.kind in "iu" else array


def _narrowed(array: NDArray[Any]) -> NDArray[Any]:
    """Return the array in the smallest integer type that holds every value."""
    if array.size == 0:
        return array.astype(np.uint8)
    low, high = int(array.min()), int(array.max())
    kind = next(kind for least, most, kind in _BOUNDS if least <= low and high <= most)
    return array.astype(kind, copy=False)


def _as_received(array: NDArray[Any], described: object) -> Tensor:
    kind, shape = _type_and_shape(described)
    if kind == "bool":
        return torch.from_numpy(_unpacked(array, shape))
    wanted, found = _KINDS[kind], array.dtype
    alike = found == wanted or (found.kind in "iu" and wanted.kind in "iu")
    if not alike or array.shape != shape:
        raise _wrong_tensor(array, kind)
    converted: NDArray[Any] = array.astype(wanted, copy=False)
    if not np.can_cast(found, wanted) and not np.array_equal(converted, array):
        raise _wrong_tensor(array, kind)
    return torch.from_numpy(converted)


def _unpacked(array: NDArray[Any], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    count = math.prod(shape)
    if array.dtype != np.uint8 or array.shape != ((count + 7) // 8,):
        raise _wrong_tensor(array, "bool")
    return np.unpackbits(array, count=count).view(np.bool_).reshape(shape)


def _type_and_shape(described: object) -> tuple[str, tuple[int, ...]]:
    if isinstance(described, list) and len(described) == 2:
        kind, shape = described
        extents = shape if isinstance(shape, list) else [None]
        if (
            isinstance(kind, str)
            and kind in _KINDS
            and all(type(extent) is int and extent >= 0 for extent in extents)
        ):
            return kind, tuple(extents)
    raise MalformedBodyError("it does not describe the type of a tensor")


def _wrong_tensor(array: NDArray[Any], kind: str) -> MalformedBodyError:
    return MalformedBodyError(
        f"a tensor is described as {kind}, but {array.dtype.name} of another shape or range arrived"
    )
