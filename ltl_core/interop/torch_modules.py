"""Torch modules and functions, one at a time: the layer that each is, or what to use instead."""

import math
import operator
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import fx, nn

from ltl_core.errors import UnsupportedLayerError
from ltl_core.network.layers import AvgPool2d, Conv2d, GlobalAvgPool, Linear

ACCEPTED = (
    "accepted are Conv2d, Linear, BatchNorm, ReLU, ReLU6, Hardtanh, AvgPool2d, "
    "AdaptiveAvgPool2d(1), additions, Flatten, Dropout"
)


class Activation(NamedTuple):
    """A ReLU, clipped at the ceiling if there is one."""

    ceiling: float | None


class GlobalPool(nn.Module):
    """The mean over all positions, in whatever way it was written."""


def activation_of(path: str, module: nn.Module) -> Activation | None:
    """Return the activation that a module is, or None. Raises UnsupportedLayerError."""
    if isinstance(module, nn.ReLU):
        return Activation(None)
    if isinstance(module, nn.Hardtanh):  # ReLU6 is one
        if module.min_val != 0:
            raise UnsupportedLayerError(
                path, "Hardtanh", "a rate cannot be negative: use min_val=0"
            )
        ceiling = float(module.max_val)
        return Activation(None if math.isinf(ceiling) else ceiling)
    return None


def conv_of(path: str, name: str, module: nn.Conv2d) -> Conv2d:
    """Return the convolution that a module is. Raises UnsupportedLayerError."""
    if isinstance(module.padding, str) or module.padding_mode != "zeros":
        raise UnsupportedLayerError(path, "Conv2d", "give the padding in numbers, of zeros")
    if _pair(module.dilation) != (1, 1):
        raise UnsupportedLayerError(path, "Conv2d", "use dilation 1")
    return Conv2d(
        name=name,
        in_channels=module.in_channels,
        out_channels=module.out_channels,
        kernel=_pair(module.kernel_size),
        stride=_pair(module.stride),
        padding=_pair(module.padding),
        groups=module.groups,
    )


def pool_of(path: str, name: str, pool: nn.Module) -> AvgPool2d | GlobalAvgPool:
    """Return the pool that a module is. Raises UnsupportedLayerError."""
    if isinstance(pool, nn.AdaptiveAvgPool2d) and pool.output_size not in (1, (1, 1), [1, 1]):
        raise UnsupportedLayerError(path, "AdaptiveAvgPool2d", "use an output size of 1")
    if not isinstance(pool, nn.AvgPool2d):
        return GlobalAvgPool(name=name)
    if _pair(pool.padding) != (0, 0) or pool.ceil_mode or pool.divisor_override:
        raise UnsupportedLayerError(
            path, "AvgPool2d", "use no padding, no ceil_mode and no divisor_override"
        )
    return AvgPool2d(name=name, kernel=_pair(pool.kernel_size), stride=_pair(pool.stride))


def linear_of(name: str, module: nn.Linear) -> Linear:
    """Return the linear layer that a module is."""
    return Linear(name=name, in_features=module.in_features, out_features=module.out_features)


def _pair(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (int(value[0]), int(value[1]))


def layer_name(path: str) -> str:
    """Return a name for a layer: its path, with "layer" in front if it begins with a digit."""
    return f"layer{path}" if path[:1].isdigit() else path


def advice_on(module: nn.Module) -> str:
    """Return what to use instead of an unsupported module."""
    if isinstance(module, nn.MaxPool2d | nn.AdaptiveMaxPool2d):
        return "spikes have no maximum to pool; use AvgPool2d, or a stride of 2 in the convolution"
    return ACCEPTED


def function_advice(name: str) -> str:
    """Return what to use instead of an unsupported function."""
    if "max_pool" in name:
        return "spikes have no maximum to pool; use avg_pool2d, or a stride of 2 in the convolution"
    if name in ("getitem", "pad", "cat"):
        return "a shortcut that changes shape must be a 1x1 convolution with a stride"
    return ACCEPTED


def _avg_pool(kernel: Any, *args: Any, **words: Any) -> nn.Module:
    """Return a pool. A computed kernel, as in `avg_pool2d(x, x.size(3))`, spans the whole map."""
    return GlobalPool() if isinstance(kernel, fx.Node) else nn.AvgPool2d(kernel, *args, **words)


def _mean(dim: Any = None, *_keepdim: bool, **words: Any) -> nn.Module:
    if tuple(dim or words.get("axis", ())) in ((2, 3), (-2, -1), (-1, -2), (3, 2)):
        return GlobalPool()
    raise UnsupportedLayerError(
        "mean", "mean", f"average over the positions (2, 3), not over {dim}"
    )


def _view(*shape: Any) -> nn.Module:
    wanted = shape[0] if len(shape) == 1 and isinstance(shape[0], tuple | list) else shape
    if len(wanted) == 2 and wanted[1] == -1:
        return nn.Flatten()
    raise UnsupportedLayerError("view", "view", "flatten to (batch, -1), and nothing else")


def _ceiling(low: float | None = None, high: float | None = None, **words: float) -> nn.Module:
    low, high = words.get("min", low), words.get("max", high)
    return nn.Hardtanh(low or 0.0, float("inf") if high is None else float(high))


def _identity(*_args: object, **_words: object) -> nn.Module:
    return nn.Identity()


ADDITIONS: frozenset[Any] = frozenset({operator.add, operator.iadd, torch.add, "add", "add_"})
MODULE_OF: dict[Any, Callable[..., nn.Module]] = {
    F.relu: nn.ReLU,
    torch.relu: nn.ReLU,
    "relu": nn.ReLU,
    F.relu6: nn.ReLU6,
    F.hardtanh: nn.Hardtanh,
    torch.clamp: _ceiling,
    "clamp": _ceiling,
    torch.clip: _ceiling,
    "clip": _ceiling,
    F.avg_pool2d: _avg_pool,
    F.adaptive_avg_pool2d: nn.AdaptiveAvgPool2d,
    torch.mean: _mean,
    "mean": _mean,
    "view": _view,
    "reshape": _view,
    torch.reshape: _view,
    F.dropout: _identity,
    torch.flatten: _identity,
    "flatten": _identity,
}
