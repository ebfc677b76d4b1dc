"""Operations that average over windows or positions."""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from ltl_core.interop.calls import Call
from ltl_core.interop.linear_maps import Average, Kernel, LinearMap, Scale, View, extents
from ltl_core.interop.signals import Signal
from ltl_core.interop.weighted import as_image
from ltl_core.network.layers import Shape


def average_pool(
    call: Call,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Signal:
    """Read an average pool of one or two dimensions."""
    shape, dims = call.signal.shape, len(call.shape) - 1
    image, result = as_image(shape), as_image(call.shape)
    window = _pair(kernel_size, dims, 1)
    step = _pair(kernel_size if stride in (None, ()) else stride, dims, 1)
    pads = _pair(padding, dims, 0)
    if not _is_even(image, result, (window, step, pads), count_include_pad):
        return call.other(
            _pool_function(call, window, step, pads, ceil_mode, count_include_pad, divisor_override)
        )
    maps: list[LinearMap] = [View(shape, image)]
    if pads == (0, 0):
        maps.append(_average(call, window, step, image, result))
    else:
        maps.append(_padded(window, step, pads, result))
    if divisor_override:
        factor = math.prod(window) / divisor_override
        maps.append(Scale(torch.full(result[:1], factor, dtype=torch.float64), result))
    return call.mapped(*maps, View(result, call.shape))


def average_pool_module(call: Call, module: nn.AvgPool2d | nn.AvgPool1d) -> Signal:
    """Read an average pool that is a module."""
    return average_pool(
        call,
        module.kernel_size,
        module.stride,
        module.padding,
        module.ceil_mode,
        module.count_include_pad,
        getattr(module, "divisor_override", None),
    )


def adaptive_pool(call: Call, *_output_size: Any, **_words: Any) -> Signal:
    """Read an adaptive average pool: one with windows alike where its size divides the input's."""
    shape = call.signal.shape
    image, result = as_image(shape), as_image(call.shape)
    if image == result:
        return call.mapped()
    if any(length % count for length, count in zip(image[1:], result[1:], strict=True)):
        sizes = (result[1], result[2])
        return call.other(
            lambda values: F.adaptive_avg_pool2d(values.view(len(values), *image), sizes).view(
                len(values), *call.shape
            )
        )
    high, wide = (length // count for length, count in zip(image[1:], result[1:], strict=True))
    average = Average(call.place.path, (high, wide), (high, wide), result, result[1:] == (1, 1))
    return call.mapped(View(shape, image), average, View(result, call.shape))


def mean(call: Call, dim: Any = None, keepdim: bool = False, **words: Any) -> Signal:
    """Read a mean; over all positions it is a pool."""
    shape, dims = call.signal.shape, words.get("axis", dim)
    # No dimension at all means every one, and so the batch too.
    named = (0,) if dims is None else dims if isinstance(dims, tuple | list) else (dims,)
    chosen = {d % (len(shape) + 1) for d in named}
    if 0 in chosen:
        raise call.refused("it averages over the batch; name the positions, as in x.mean((2, 3))")
    if len(shape) > 1 and chosen == set(range(2, len(shape) + 1)):
        image, result = as_image(shape), (shape[0], 1, 1)
        average = Average(call.place.path, (image[1], image[2]), (image[1], image[2]), result, True)
        return call.mapped(View(shape, image), average, View(result, call.shape))
    axes = tuple(chosen)
    return call.other(lambda values: values.mean(axes, keepdim))


def subsampled(call: Call, step: tuple[int, int]) -> Signal:
    """Read every n-th row and column, a pool with windows of one."""
    return call.mapped(Average(call.place.path, (1, 1), step, call.shape))


def _average(
    call: Call, window: tuple[int, int], step: tuple[int, int], image: Shape, result: Shape
) -> Average:
    whole = window == image[1:] and image[1:] != (1, 1)
    return Average(call.place.path, window, step, result, whole)


def _padded(
    window: tuple[int, int], step: tuple[int, int], pads: tuple[int, int], result: Shape
) -> Kernel:
    """Return a pool that counts zeros around its input, as a convolution."""
    weight = torch.full((result[0], 1, *window), 1 / math.prod(window), dtype=torch.float64)
    return Kernel((), weight, step, pads, result[0], result)


def _is_even(image: Shape, result: Shape, geometry: Any, count_zeros: bool) -> bool:
    """Return whether all windows have the same number of elements."""
    padded = any(geometry[2])
    if padded and not count_zeros:
        return False
    return all(
        (count - 1) * step + window <= length + 2 * pad
        for length, count, window, step, pad in zip(image[1:], result[1:], *geometry, strict=True)
    )


def _pool_function(
    call: Call,
    window: tuple[int, int],
    step: tuple[int, int],
    pads: tuple[int, int],
    ceil_mode: bool,
    count_include_pad: bool,
    divisor: int | None,
) -> Any:
    def pool(values: torch.Tensor) -> torch.Tensor:
        image = values.view(len(values), *as_image(tuple(values.shape[1:])))
        found = F.avg_pool2d(image, window, step, pads, ceil_mode, count_include_pad, divisor)
        return found.view(len(values), *call.shape)

    return pool


def _pair(value: Any, dims: int, height: int) -> tuple[int, int]:
    """Return a size of two dimensions; that of one has this height."""
    *front, last = extents(value, dims)
    return (front[0] if front else height, last)
