"""Operations with weights: convolutions, matrix products, and norms with kept statistics."""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ltl_core.errors import LayerShapeError
from ltl_core.interop.calls import Call
from ltl_core.interop.linear_maps import Kernel, LinearMap, Matrix, View, extents
from ltl_core.interop.names import layer_name
from ltl_core.interop.signals import Signal
from ltl_core.network.layers import Shape, size

_STATISTICS = (
    "it has no running statistics, so every batch has its own norm; train it with "
    "track_running_stats=True"
)


class _Statistics(NamedTuple):
    """What a norm has seen in training."""

    mean: Tensor
    variance: Tensor
    eps: float


def convolution(
    call: Call,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Signal:
    """Read a convolution of one or two dimensions; one of one dimension has height one."""
    dims = weight.dim() - 2
    kernel = call.tensor(weight, "weight")
    steps, apart = extents(stride, dims), extents(dilation, dims)
    before = _zeros_before(padding, weight.shape[2:], apart)
    if dims == 1:
        kernel, steps, apart, before = kernel.unsqueeze(2), (1, *steps), (1, *apart), (0, *before)
    shape = call.signal.shape
    image, result = as_image(shape), as_image(call.shape)
    maps: tuple[LinearMap, ...] = (
        View(shape, image),
        Kernel(
            (call.place.path,),
            _dilated(kernel, apart),
            (steps[0], steps[1]),
            (before[0], before[1]),
            groups,
            result,
        ),
        View(result, call.shape),
    )
    return with_bias(call, call.mapped(*maps), bias)


def convolution_module(call: Call, module: nn.Conv2d | nn.Conv1d) -> Signal:
    """Read a convolution that is a module."""
    if module.padding_mode != "zeros":
        raise call.refused(f"it pads with '{module.padding_mode}'; use padding_mode='zeros'")
    return convolution(
        call,
        module.weight,
        module.bias,
        module.stride,
        module.padding,
        module.dilation,
        module.groups,
    )


def linear(call: Call, weight: Tensor, bias: Tensor | None = None) -> Signal:
    """Read a matrix product over all features of a sample."""
    shape = call.signal.shape
    if size(shape) != shape[-1]:
        raise call.refused(
            f"it is computed for each of {size(shape) // shape[-1]} positions; use a 1x1 "
            "convolution, or flatten in front of it"
        )
    matrix = Matrix((call.place.path,), call.tensor(weight, "weight"), (len(weight),))
    maps = (View(shape, shape[-1:]), matrix, View((len(weight),), call.shape))
    return with_bias(call, call.mapped(*maps), bias)


def product(call: Call, other: Any) -> Signal:
    """Read `x @ constant`."""
    if not isinstance(other, Tensor) or other.dim() != 2:
        raise call.refused("only a constant matrix can be on the right of a product")
    return linear(call, other.t())


def batch_norm(call: Call, module: Any) -> Signal:
    """Read a norm with running statistics: gamma (x - mean) / sqrt(var + eps) + beta."""
    if module.running_mean is None or module.running_var is None:
        raise call.refused(_STATISTICS)
    mean, variance = module.running_mean, module.running_var
    return normalized(call, _Statistics(mean, variance, module.eps), module.weight, module.bias)


def batch_norm_function(
    call: Call,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    *momentum_and_eps: float,
    **words: float,
) -> Signal:
    """Read `F.batch_norm`."""
    if training or running_mean is None or running_var is None:
        raise call.refused(_STATISTICS)
    eps = words.get("eps", momentum_and_eps[1] if len(momentum_and_eps) > 1 else 1e-5)
    return normalized(call, _Statistics(running_mean, running_var, eps), weight, bias)


def normalized(
    call: Call, statistics: _Statistics, gamma: Tensor | None, beta: Tensor | None
) -> Signal:
    """Return gamma (x - mean) / sqrt(variance + eps) + beta, channel by channel."""
    gain = 1 / (call.tensor(statistics.variance, "running_var") + statistics.eps).sqrt()
    if gamma is not None:
        gain = gain * call.tensor(gamma, "weight")
    shift = -call.tensor(statistics.mean, "running_mean") * gain
    if beta is not None:
        shift = shift + call.tensor(beta, "bias")
    return call.plain.times(gain).plus(by_channel(shift, call.shape))


def normalize_module(call: Call, module: Any) -> Signal:
    """Read torchvision's Normalize: (x - mean) / std, channel by channel."""
    std = call.tensor(module.std, "std").flatten()
    mean = call.tensor(module.mean, "mean").flatten()
    return call.plain.times(1 / std).plus(by_channel(-mean / std, call.shape))


def by_channel(values: Tensor, shape: Shape) -> Tensor:
    """Return one value a channel in a form that fits a value of `shape`."""
    return values.view(-1, *[1] * (len(shape) - 1)) if values.numel() > 1 else values.flatten()[:1]


def with_bias(call: Call, signal: Signal, bias: Tensor | None) -> Signal:
    """Return a signal and a bias for each channel."""
    if bias is None:
        return signal
    return signal.plus(by_channel(call.tensor(bias, "bias"), signal.shape))


def as_image(shape: Shape) -> Shape:
    """Return the shape of a value as an image: a sequence has height one."""
    return shape if len(shape) == 3 else (shape[0], 1, *shape[1:])


def wrong_input(path: str, module: nn.Module | None, found: Shape) -> LayerShapeError | None:
    """Return the error for a layer whose input has another size than it needs, if that is it."""
    name = layer_name(path)
    if isinstance(module, nn.Linear) and found and found[-1] != module.in_features:
        return LayerShapeError(name, (module.in_features,), found)
    if isinstance(module, nn.Conv2d | nn.Conv1d) and found and found[0] != module.in_channels:
        dims = ("H", "W") if isinstance(module, nn.Conv2d) else ("L",)
        return LayerShapeError(name, (module.in_channels, *dims), found)
    return None


def _zeros_before(padding: Any, window: Any, apart: tuple[int, ...]) -> tuple[int, ...]:
    """Return the zeros in front of each dimension; "same" puts the odd one behind."""
    if padding == "valid":
        return (0,) * len(apart)
    if padding == "same":
        return tuple(d * (k - 1) // 2 for d, k in zip(apart, window, strict=True))
    return extents(padding, len(apart))


def _dilated(kernel: Tensor, apart: tuple[int, ...]) -> Tensor:
    """Return a kernel with zeros between its elements."""
    high, wide = ((k - 1) * d + 1 for k, d in zip(kernel.shape[2:], apart, strict=True))
    spread = torch.zeros(*kernel.shape[:2], high, wide, dtype=kernel.dtype)
    spread[:, :, :: apart[0], :: apart[1]] = kernel
    return spread
