"""Checks of what an agent answers: kinds, shapes, ranges and names.

What is wrong is told in words of ours: a name or a text of the answer may be that of any server.
"""

import math
from collections.abc import Collection
from enum import StrEnum
from typing import Any

import torch
from torch import Tensor

from service.bench.protocol.wire import MalformedBodyError, Message

Shape = tuple[int, ...]
_INTEGER_MAX = 2**63
_AXES_SHOWN = 6


class Kind(StrEnum):
    """Kind of a tensor's values; any width of it is accepted."""

    BITS = "bits"
    INTEGERS = "integers"
    REALS = "reals"


def read_tensor(answer: Message, name: str, kind: Kind, shape: Shape) -> Tensor:
    """Return a tensor of the answer. Raises MalformedBodyError."""
    tensor = answer.tensor(name)
    check_tensor(tensor, name, kind, shape)
    return tensor


def check_tensor(tensor: Tensor, name: str, kind: Kind, shape: Shape) -> None:
    """Raise MalformedBodyError unless the tensor has this kind and this shape."""
    check_kind(tensor, name, kind)
    if tuple(tensor.shape) != shape:
        found = f"{shown_shape(tensor)}, not {list(shape)}"
        raise MalformedBodyError(f"tensor '{name}' has shape {found}")


def check_kind(tensor: Tensor, name: str, kind: Kind) -> None:
    """Raise MalformedBodyError unless the values of the tensor are of this kind."""
    found = Kind.REALS if tensor.is_floating_point() else Kind.INTEGERS
    if (Kind.BITS if tensor.dtype == torch.bool else found) is not kind:
        raise MalformedBodyError(f"tensor '{name}' is {tensor.dtype}, not {kind}")


def check_range(tensor: Tensor, name: str, low: float, high: float) -> None:
    """Raise MalformedBodyError unless all values lie in the range."""
    if tensor.numel() and not (low <= tensor.min() and tensor.max() <= high):  # also false for NaN
        raise MalformedBodyError(f"tensor '{name}' leaves the range {low} to {high}")


def check_finite(tensor: Tensor, name: str) -> None:
    """Raise MalformedBodyError if a value is NaN or infinite."""
    if not tensor.isfinite().all():
        raise MalformedBodyError(f"tensor '{name}' holds NaN or infinite values")


def read_whole(answer: Message, name: str, highest: int) -> int:
    """Return a field, a whole number from 0 to `highest`. Raises MalformedBodyError."""
    value = answer.field(name, int)
    return int(read_number(value, name, 0, highest))


def read_number(value: object, name: str, low: float, high: float) -> float:
    """Return a number in the range. Raises MalformedBodyError, which quotes numbers alone."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise MalformedBodyError(f"{name} is {_kind_of(value)}, not a number from {low} to {high}")
    if isinstance(value, int) and abs(value) > _INTEGER_MAX:
        raise MalformedBodyError(f"{name} is too large, not a number from {low} to {high}")
    if not math.isfinite(value) or not low <= value <= high:
        raise MalformedBodyError(f"{name} is {value}, not a number from {low} to {high}")
    return value


def _kind_of(value: object) -> str:
    return "absent" if value is None else f"of type {type(value).__name__}"


def are_layers(named: list[Any], expected: Collection[str]) -> bool:
    """Tell whether a list of the answer names these layers and no other."""
    return all(isinstance(name, str) for name in named) and set(named) == set(expected)


def other_layers(expected: Collection[str]) -> str:
    """Say what should be there: what is there instead may be the words of any server."""
    return f"it holds layers other than {sorted(expected)}"


def shown_shape(tensor: Tensor) -> list[int]:
    """Return the first six extents of a tensor."""
    return list(tensor.shape[:_AXES_SHOWN])
