"""Convolutions with any zeros around as layers, which are padded alike on both sides."""

from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor

from ltl_core.interop.linear_maps import Kernel
from ltl_core.network.layers import Conv2d, Shape


class ConvLayer(NamedTuple):
    """A layer with its weights."""

    layer: Conv2d
    weight: Tensor


class _Side(NamedTuple):
    padding: int
    window: int
    first: int  # zeros in front of the kernel


def conv_layer(name: str, kernel: Kernel, shape: Shape) -> ConvLayer:
    """Return a convolution of an input of `shape` as a layer.

    Where its zeros differ between the sides, the kernel gets zeros, so that it reads further.
    """
    rows, columns = (
        _side(length, count, window, step, before)
        for length, count, window, step, before in zip(
            shape[1:], kernel.shape[1:], kernel.window, kernel.stride, kernel.before, strict=True
        )
    )
    high, wide = kernel.window
    sides = (
        columns.first,
        columns.window - wide - columns.first,
        rows.first,
        rows.window - high - rows.first,
    )
    layer = Conv2d(
        name=name,
        in_channels=shape[0],
        out_channels=kernel.shape[0],
        kernel=(rows.window, columns.window),
        stride=kernel.stride,
        padding=(rows.padding, columns.padding),
        groups=kernel.groups,
    )
    return ConvLayer(layer, F.pad(kernel.weight, sides))


def _side(length: int, count: int, window: int, step: int, before: int) -> _Side:
    """Return the smallest padding, alike on both sides, that gives `count` outputs.

    The last output reads up to `step * (count - 1) + window - before`, and up to `padding` zeros
    behind the input.
    """
    beyond = step * (count - 1) + window - before - length
    padding = max(before, beyond, 0)
    first = padding - before
    needed = max(window + first, length + 2 * padding - step * count + 1)
    return _Side(padding, needed, first)
