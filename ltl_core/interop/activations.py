"""Operations that bound values: those that a spiking neuron can stand for, and ends of a module."""

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ltl_core.interop.calls import Call
from ltl_core.interop.linear_maps import Average, View
from ltl_core.interop.signals import Activated, Score, Several, Signal, Value
from ltl_core.network.graph import INPUT


def relu(call: Call, *_args: object, **_words: object) -> Value:
    """Read a ReLU."""
    return bounded(call, 0.0, math.inf)


def relu6(call: Call, *_args: object, **_words: object) -> Value:
    """Read a ReLU6."""
    return bounded(call, 0.0, 6.0)


def hardtanh(
    call: Call, min_val: float = -1.0, max_val: float = 1.0, *_args: object, **_words: object
) -> Value:
    """Read a Hardtanh, which must begin at 0."""
    if min_val != 0 and not _is_never_negative(call.value):
        raise call.refused("a rate cannot be negative: use min_val=0")
    return bounded(call, float(min_val), float(max_val))


def hardtanh_module(call: Call, module: Any) -> Value:
    """Read a Hardtanh or ReLU6 that is a module."""
    return hardtanh(call, module.min_val, module.max_val)


def clamp(call: Call, *bounds: Any, **words: Any) -> Value:
    """Read a clamp; without a lower bound it is a ceiling on values that are never negative."""
    low, high = (*bounds, None, None)[:2]
    low, high = words.get("min", low), words.get("max", high)
    for bound in (low, high):
        if bound is not None and not isinstance(bound, int | float):
            raise call.refused("its bounds must be numbers; use clamp(min=0, max=C)")
    return bounded(
        call, -math.inf if low is None else float(low), math.inf if high is None else float(high)
    )


def clamp_min(call: Call, min: Any) -> Value:
    """Read `clamp_min`."""
    return clamp(call, min, None)


def clamp_max(call: Call, max: Any) -> Value:
    """Read `clamp_max`."""
    return clamp(call, None, max)


def threshold(call: Call, threshold: float, value: float, *_inplace: bool, **_words: bool) -> Value:
    """Read `F.threshold`, which is a ReLU if both its numbers are 0."""
    if threshold != 0 or value != 0:
        raise call.refused("only a threshold of 0 with the value 0, which is a ReLU, is known")
    return relu(call)


def threshold_module(call: Call, module: Any) -> Value:
    """Read a Threshold that is a module."""
    return threshold(call, module.threshold, module.value)


def bounded(call: Call, low: float, high: float) -> Value:
    """Return a value clipped to [low, high], as neurons."""
    value = call.value
    if isinstance(value, Score | Several):
        value = call.plain  # raises
    never_negative = _is_never_negative(value)
    if low > 0 or (low < 0 and not never_negative):
        raise call.refused(
            f"with {'no lower bound' if math.isinf(low) else f'the lower bound {low:g}'} it lets "
            "values pass that are no rates; write clamp(min=0, max=C), or a ReLU in front of it"
        )
    if high <= 0:
        raise call.refused(f"its ceiling {high:g} must be above 0")
    ceiling = None if math.isinf(high) else high
    if isinstance(value, Activated):
        return value._replace(ceiling=_lower(value.ceiling, ceiling))
    if never_negative and ceiling is None and isinstance(value, Signal) and len(value.terms) == 1:
        return value
    return Activated(call.reader.read_input(value), ceiling, call.place.path)


def score(call: Call, *_args: object, **_words: object) -> Value:
    """Read a softmax or sigmoid, which changes no class at the end of a module."""
    return Score(call.plain, call.place, _score_function(call.place.kind))


def softmax(call: Call, dim: int | None = None, *_args: object, **_words: object) -> Value:
    """Read a softmax over the classes."""
    if dim is not None and dim % (len(call.shape) + 1) != 1:
        raise call.refused(f"it is over dimension {dim}; a softmax of classes has dim=1")
    return score(call)


def softmax_module(call: Call, module: Any) -> Value:
    """Read a Softmax or LogSoftmax that is a module."""
    return softmax(call, module.dim)


def _score_function(kind: str) -> Callable[[Tensor], Tensor]:
    name = kind.lower().replace("_", "")
    if name == "softmax":
        return lambda logits: logits.softmax(1)
    if name == "logsoftmax":
        return lambda logits: logits.log_softmax(1)
    return F.logsigmoid if name == "logsigmoid" else torch.sigmoid


def _is_never_negative(value: Value) -> bool:
    """Return whether a value is a rate, or an average of rates."""
    if isinstance(value, Activated):
        return True
    if not isinstance(value, Signal) or value.constant is not None:
        return False
    return all(
        term.source != INPUT and all(isinstance(link, View | Average) for link in term.maps)
        for term in value.terms
    )


def _lower(first: float | None, second: float | None) -> float | None:
    known = [ceiling for ceiling in (first, second) if ceiling is not None]
    return min(known) if known else None
