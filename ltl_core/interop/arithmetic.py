"""Operations of arithmetic: sums of values, and constants added to or multiplied with them."""

from typing import Any

import torch
from torch import Tensor

from ltl_core.interop.calls import Call
from ltl_core.interop.linear_maps import one_per_channel
from ltl_core.interop.signals import Activated, Score, Several, Signal, total
from ltl_core.interop.tracing import BATCH


def add(call: Call, other: Any, alpha: float = 1) -> Signal:
    """Read `x + other`, or `x + alpha other`."""
    return _sum(call, other, float(alpha))


def subtract(call: Call, other: Any, alpha: float = 1) -> Signal:
    """Read `x - other`."""
    return _sum(call, other, -float(alpha))


def subtract_from(call: Call, other: Any) -> Signal:
    """Read `other - x`."""
    return _sum(call._replace(value=negative(call)), other, 1.0)


def multiply(call: Call, other: Any) -> Signal:
    """Read `x * constant`."""
    if _is_value(other):
        raise call.refused(
            "it multiplies two values that depend on the input, which neurons cannot; use an "
            "addition, or leave the gate or attention out"
        )
    return _scaled(call, other)


def divide(call: Call, other: Any, rounding_mode: str | None = None) -> Signal:
    """Read `x / constant`."""
    if _is_value(other) or rounding_mode:
        raise call.refused("values are divided by constants only, without rounding")
    return _scaled(call, 1 / call.tensor(other, ""))


def negative(call: Call) -> Signal:
    """Read `-x`."""
    return call.plain.times(-1.0)


def _is_value(value: Any) -> bool:
    return isinstance(value, Signal | Activated | Score | Several)


def _sum(call: Call, second: Any, factor: float) -> Signal:
    call.check_batch()
    if not _is_value(second):
        return call.plain.plus(_constant(call, second) * factor)
    left = call.plain
    right = call._replace(value=second).plain
    if left.shape != right.shape:
        raise call.refused(f"it adds shapes {left.shape} and {right.shape}; make them alike")
    left, right = call.reader.read_input(left), call.reader.read_input(right)
    right = right if factor == 1 else right.times(factor)
    path = call.place.path
    return total((left, right), f"{path}.add" if "." in path else path)


def _scaled(call: Call, factor: Any) -> Signal:
    signal = call.plain
    found = _constant(call, factor)
    if found.dim() == 0 or found.numel() == 1:
        return signal.times(float(found))
    factors = one_per_channel(found.expand(signal.shape))
    if factors is not None:
        return signal.times(factors)
    return call.other(lambda values: values * found)


def _constant(call: Call, value: Any) -> Tensor:
    """Return a constant without its batch, which must be the same for all samples."""
    found = call.tensor(value, "")
    if found.dim() <= len(call.shape):
        return found
    if len(found) not in (1, BATCH) or not bool((found == found[:1]).all()):
        raise call.refused("its constant differs between samples; give it a batch of one")
    return torch.as_tensor(found[0])
