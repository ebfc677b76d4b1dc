"""Messages: every tensor arrives as it was, in few bytes, and what is no message is refused."""

import json
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
import torch
from torch import Tensor

from service.bench.protocol.wire import MalformedBodyError, Message, decode, encode

RNG = torch.Generator().manual_seed(1)
TENSORS: dict[str, Tensor] = {
    "spikes": torch.rand(16, 5, 7, 3, generator=RNG) < 0.1,
    "counts": torch.randint(0, 17, (5, 7, 3), generator=RNG, dtype=torch.int32),
    "codes": torch.randint(-63, 64, (8, 9), generator=RNG),
    "far codes": torch.tensor([-(2**40), 2**40]),
    "small codes": torch.tensor([[-1, 1]], dtype=torch.int8),
    "membrane": torch.randn(16, 5, 3, generator=RNG),
    "double": torch.randn(3, generator=RNG, dtype=torch.float64),
    "half": torch.randn(3, generator=RNG).half(),
    "a hole": torch.tensor([torch.nan, torch.inf]),
    "nothing": torch.zeros(0, 4, dtype=torch.int32),
    "no bits": torch.zeros(3, 0, dtype=torch.bool),
    "one": torch.tensor(3),
    "turned": torch.arange(6.0).view(2, 3).T,
}


@pytest.mark.parametrize("name", TENSORS)
def test_a_tensor_comes_back_as_it_was(name: str) -> None:
    sent = TENSORS[name]
    found = decode(encode(Message({}, {name: sent})).whole()).tensors[name]
    assert found.dtype == sent.dtype
    torch.testing.assert_close(found, sent, rtol=0, atol=0, equal_nan=True)


def test_many_tensors_and_fields_come_back_together() -> None:
    sent = Message({"layer": "conv", "steps": 3, "none": None, "part": 0.1}, TENSORS)
    found = decode(encode(sent).whole())
    assert found.fields == sent.fields
    assert found.tensors.keys() == sent.tensors.keys()


def body_size(tensor: Tensor) -> int:
    """Bytes beside those of a message without it."""
    empty = torch.zeros((0,) * tensor.ndim, dtype=tensor.dtype)
    return encode(Message({}, {"x": tensor})).size - encode(Message({}, {"x": empty})).size


@pytest.mark.parametrize(
    ("tensor", "size"),
    [
        (torch.ones(16, 1000, dtype=torch.bool), 2000),  # a bit a spike
        (torch.full((1000,), 16, dtype=torch.int32), 1000),  # a byte a count
        (torch.full((1000,), 300), 2000),
        (torch.full((1000,), -300), 2000),
        (torch.ones(1000), 4000),  # a membrane keeps its four bytes
    ],
)
def test_tensors_travel_in_few_bytes(tensor: Tensor, size: int) -> None:
    assert size <= body_size(tensor) <= size + 32


def test_a_type_that_does_not_travel_is_refused() -> None:
    with pytest.raises(MalformedBodyError, match="complex64 do not travel"):
        encode(Message({}, {"x": torch.zeros(1, dtype=torch.complex64)}))


def test_large_tensors_are_sent_from_where_they_lie() -> None:
    membrane = torch.randn(1 << 20)
    parts = encode(Message({}, {"membrane": membrane})).parts
    kept = np.frombuffer(parts[1], np.float32)
    assert np.shares_memory(kept, membrane.numpy())
    assert max(piece.nbytes for piece in encode(Message({}, {"m": membrane})).slices()) <= 1 << 20


def block(types: dict[str, Any], fields: Any = None, **arrays: np.ndarray) -> bytes:
    metadata = {"types": json.dumps(types), "fields": json.dumps(fields or {})}
    return safetensors.numpy.save(arrays, metadata)


BYTES = np.array([1, 2, 200], np.uint8)
FALSE: dict[str, bytes] = {
    "nothing": b"",
    "no block": b"\x00" * 100,
    "a block without metadata": safetensors.numpy.save({"x": BYTES}),
    "a tensor without a type": block({}, x=BYTES),
    "a type without a tensor": block({"x": ["uint8", [3]], "y": ["uint8", [3]]}, x=BYTES),
    "an unknown type": block({"x": ["object", [3]]}, x=BYTES),
    "a type without a shape": block({"x": ["uint8"]}, x=BYTES),
    "a type that is no name": block({"x": [["uint8"], [3]]}, x=BYTES),
    "another shape": block({"x": ["int32", [4]]}, x=BYTES),
    "a negative shape": block({"x": ["int32", [-3]]}, x=BYTES),
    "a shape of words": block({"x": ["int32", ["3"]]}, x=BYTES),
    "too few bits": block({"x": ["bool", [100]]}, x=BYTES),
    "too many bits": block({"x": ["bool", [3]]}, x=BYTES),
    "integers as reals": block({"x": ["float32", [3]]}, x=BYTES),
    "reals as integers": block({"x": ["int32", [1]]}, x=np.zeros(1, np.float32)),
    "more than the type holds": block({"x": ["int8", [3]]}, x=BYTES),
    "fields that are a list": block({"x": ["uint8", [3]]}, [1], x=BYTES),
}


@pytest.mark.parametrize("data", FALSE.values(), ids=FALSE.keys())
def test_what_is_no_message_is_refused(data: bytes) -> None:
    with pytest.raises(MalformedBodyError):
        decode(data)


def test_such_a_block_is_read_when_it_is_true() -> None:
    assert decode(block({"x": ["int32", [3]]}, x=BYTES)).tensors["x"].tolist() == [1, 2, 200]


@pytest.mark.parametrize("kind", [int, str, float, dict])
def test_a_field_of_another_type_is_refused(kind: type) -> None:
    with pytest.raises(MalformedBodyError, match="lacks"):
        Message({"x": True}).field("x", kind)
