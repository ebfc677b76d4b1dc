"""Linear maps that follow each other become as few as possible: pools, then one layer with weights.

All is exact. A scale goes into the weights beside it; a pool behind a convolution makes one
convolution of longer strides; two convolutions are one if no zeros are added between them; and a
matrix takes in all in front of it but pools.
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ltl_core.errors import UnsupportedLayerError
from ltl_core.interop.linear_maps import (
    Average,
    Kernel,
    LinearMap,
    Matrix,
    Other,
    Scale,
    View,
    one_per_channel,
)
from ltl_core.network.layers import Shape, size

_LARGEST_MATRIX = 2**25  # weights of a matrix that stands for several maps
_ROWS = 256  # rows of a matrix that are computed at a time


def fold(shape: Shape, maps: Sequence[LinearMap]) -> tuple[LinearMap, ...]:
    """Return maps that compute the same from a value of `shape`, and are as few as possible.

    The shape has no batch: (features), (channels, rows, columns), or any that a view makes. Raises
    UnsupportedLayerError, which names a module, if a matrix would have more than 2**25 weights.
    """
    folded: tuple[LinearMap, ...] = ()
    for link in maps:
        folded = append(shape, folded, link)
    return folded


def append(shape: Shape, maps: tuple[LinearMap, ...], link: LinearMap) -> tuple[LinearMap, ...]:
    """Return folded maps and one more behind them, folded. Raises UnsupportedLayerError."""
    last = maps[-1] if maps else None
    if isinstance(link, View | Other):
        moved = _viewed(maps, link) if isinstance(link, View) else (*maps, link)
        return _with_mixed_channels(shape, moved)
    if isinstance(link, Matrix):
        return _multiplied(shape, maps, link)
    if isinstance(last, View):
        return _behind_view(shape, maps[:-1], last, link)
    if isinstance(last, Scale):
        return _behind_scale(shape, maps[:-1], last, link)
    if isinstance(last, Matrix) and isinstance(link, Scale):
        return (*maps[:-1], last._replace(weight=last.weight * link.factor[:, None]))
    if isinstance(last, Kernel):
        return _behind_kernel(shape, maps[:-1], last, link)
    return (*maps, link)


def identity(shape: Shape) -> Kernel | Matrix:
    """Return the map that changes no value of `shape` (no batch), as a layer with weights.

    For a vector it is the unit matrix, for an image a 1x1 convolution of each channel alone.
    """
    if len(shape) == 1:
        return Matrix((), torch.eye(shape[0], dtype=torch.float64), shape)
    weight = torch.ones(shape[0], 1, 1, 1, dtype=torch.float64)
    return Kernel((), weight, (1, 1), (0, 0), shape[0], shape)


def as_matrix(shape: Shape, maps: Sequence[LinearMap]) -> tuple[LinearMap, ...]:
    """Return folded maps, from a value of `shape` to a vector, so that the last is a matrix.

    Raises UnsupportedLayerError if the matrix would have more than 2**25 weights.
    """
    if maps and isinstance(maps[-1], Matrix):
        return tuple(maps)
    return append(shape, tuple(maps), identity(output_shape(shape, maps)))


def output_shape(shape: Shape, maps: Sequence[LinearMap]) -> Shape:
    """Return the shape, without batch, of what maps make of a value of `shape`."""
    return maps[-1].shape if maps else shape


def regrouped(kernel: Kernel, groups: int) -> Tensor:
    """Return the weights of a convolution for fewer groups, of which its own are a multiple.

    Their shape is (outputs, inputs / groups, rows, columns), with zeros between former groups.
    """
    if kernel.groups == groups:
        return kernel.weight
    joined, (outputs, inputs, *window) = kernel.groups // groups, kernel.weight.shape
    outputs_a_group = outputs // kernel.groups
    blocks = kernel.weight.new_zeros(groups, joined, outputs_a_group, joined, inputs, *window)
    parts = kernel.weight.view(groups, joined, outputs_a_group, inputs, *window)
    for index in range(joined):
        blocks[:, index, :, index] = parts[:, index]
    return blocks.reshape(outputs, joined * inputs, *window)


def _with_mixed_channels(shape: Shape, maps: tuple[LinearMap, ...]) -> tuple[LinearMap, ...]:
    """Return maps whose last reordering is a 1x1 convolution, if it does that to an image."""
    start = len(maps)
    while start and isinstance(maps[start - 1], View | Other):
        start -= 1
    front, moved = maps[:start], maps[start:]
    inner, outer = output_shape(shape, front), output_shape(shape, maps)
    images = len(inner) == len(outer) == 3 and inner[1:] == outer[1:]
    if not images or not any(isinstance(link, Other) for link in moved):
        return maps
    weight = _channel_mix(inner, moved)
    if weight is None:
        return maps
    return append(shape, front, Kernel((), weight, (1, 1), (0, 0), 1, outer))


def _channel_mix(shape: Shape, maps: Sequence[LinearMap]) -> Tensor | None:
    """Return the 1x1 convolution that maps are, by a probe of each channel, or None.

    That they do nothing else shows on random values, which for linear maps leave it to no chance.
    """
    channels = shape[0]
    if channels * size(shape) > _LARGEST_MATRIX:
        return None
    rng = torch.Generator().manual_seed(0)
    probes = torch.zeros(channels, *shape, dtype=torch.float64)
    probes[range(channels), range(channels)] = 1
    values = torch.randn(2, *shape, generator=rng, dtype=torch.float64)
    answers, found = probes, values
    for link in maps:
        answers, found = link(answers), link(found)
    weight = answers[:, :, 0, 0].T[:, :, None, None].contiguous()
    same = torch.allclose(F.conv2d(values, weight), found, rtol=0, atol=1e-12)
    return weight if same else None


def _behind_view(
    shape: Shape, front: tuple[LinearMap, ...], view: View, link: LinearMap
) -> tuple[LinearMap, ...]:
    """Scales go in front of a view, or behind it if weights or a pool can take them in there."""
    if isinstance(link, Scale):
        moved = _scale_in(link.factor, link.shape, view.before)
        return (*front, view, link) if moved is None else (*append(shape, front, moved), view)
    if front and isinstance(scale := front[-1], Scale):
        moved = _scale_in(scale.factor, scale.shape, view.shape)
        if moved is not None:
            return append(shape, (*_viewed(front[:-1], view), moved), link)
    return (*front, view, link)


def _scale_in(factor: Tensor, shape: Shape, other: Shape) -> Scale | None:
    """Return a scale in another shape of the same elements, if it is one a channel there too."""
    whole = factor.view(-1, *[1] * (len(shape) - 1)).expand(shape).reshape(other)
    factors = one_per_channel(whole)
    return None if factors is None else Scale(factors, other)


def _behind_scale(
    shape: Shape, front: tuple[LinearMap, ...], scale: Scale, link: LinearMap
) -> tuple[LinearMap, ...]:
    if isinstance(link, Scale):
        return (*front, Scale(scale.factor * link.factor, link.shape))
    if isinstance(link, Kernel):
        return append(shape, front, _with_scaled_input(link, scale.factor))
    if isinstance(link, Average):
        return (*append(shape, front, link), Scale(scale.factor, link.shape))
    return (*front, scale, link)


def _behind_kernel(
    shape: Shape, front: tuple[LinearMap, ...], kernel: Kernel, link: LinearMap
) -> tuple[LinearMap, ...]:
    before = output_shape(shape, front)
    if isinstance(link, Scale):
        weight = kernel.weight * link.factor.view(-1, 1, 1, 1)
        return (*front, kernel._replace(weight=weight))
    if isinstance(link, Average) and _is_pointwise(kernel, before):
        return (*append(shape, front, _of_channels(link, before)), _moved(kernel, link))
    if isinstance(link, Average):
        link = _as_kernel(link)
    if isinstance(link, Kernel) and _joins(kernel, before, link):
        return (*front, _joined(kernel, link))
    return (*front, kernel, link)


def _viewed(maps: tuple[LinearMap, ...], view: View) -> tuple[LinearMap, ...]:
    if maps and isinstance(last := maps[-1], View):
        maps, view = maps[:-1], View(last.before, view.shape)
    return maps if view.before == view.shape else (*maps, view)


def _multiplied(shape: Shape, maps: tuple[LinearMap, ...], matrix: Matrix) -> tuple[LinearMap, ...]:
    """Return the maps with a matrix that has taken in all but pools in front of them."""
    kept, weight, paths = list(maps), matrix.weight, matrix.paths
    while kept and not _is_pooled(kept):
        link = kept.pop()
        inner = output_shape(shape, kept)
        if not isinstance(link, View):
            weight = _pulled_back(link, inner, weight)
        if isinstance(link, Kernel | Matrix):
            paths = (*link.paths, *paths)
    inner = output_shape(shape, kept)
    flat = () if len(inner) == 1 else (View(inner, (size(inner),)),)
    return (*kept, *flat, Matrix(paths, weight.flatten(1), matrix.shape))


def _is_pooled(maps: Sequence[LinearMap]) -> bool:
    """Return whether maps are pools alone, but for a flattening at their end."""
    return all(isinstance(link, Average) for link in maps)


def _pulled_back(link: LinearMap, shape: Shape, weight: Tensor) -> Tensor:
    """Return the weights that do at the input of a map what `weight` does at its output."""
    if len(weight) * size(shape) > _LARGEST_MATRIX:
        path = getattr(link, "path", "") or ".".join(getattr(link, "paths", ())[-1:])
        raise UnsupportedLayerError(
            path,
            getattr(link, "kind", type(link).__name__),
            f"as part of the next matrix it needs {len(weight)} x {size(shape)} weights; put an "
            "activation, or a pool over all positions, behind it",
            getattr(link, "line", ""),
        )
    return torch.cat([_rows_pulled_back(link, shape, rows) for rows in weight.split(_ROWS)])


def _rows_pulled_back(link: LinearMap, shape: Shape, rows: Tensor) -> Tensor:
    zeros = torch.zeros(len(rows), *shape, dtype=rows.dtype, requires_grad=True)
    with torch.enable_grad():
        outputs = link(zeros)
        (back,) = torch.autograd.grad(outputs, zeros, rows.view_as(outputs))
    return back.flatten(1)


def _is_pointwise(kernel: Kernel, shape: Shape) -> bool:
    """Return whether a convolution reads every position once, and nothing beside it."""
    return (
        kernel.window == kernel.stride == (1, 1)
        and kernel.before == (0, 0)
        and kernel.shape[1:] == shape[1:]
    )


def _of_channels(pool: Average, shape: Shape) -> Average:
    return pool._replace(shape=(shape[0], *pool.shape[1:]))


def _moved(kernel: Kernel, pool: Average) -> Kernel:
    return kernel._replace(shape=(kernel.shape[0], *pool.shape[1:]))


def _as_kernel(pool: Average) -> Kernel:
    channels = pool.shape[0]
    value = 1 / math.prod(pool.window)
    weight = torch.full((channels, 1, *pool.window), value, dtype=torch.float64)
    return Kernel((), weight, pool.stride, (0, 0), channels, pool.shape)


def _with_scaled_input(kernel: Kernel, factor: Tensor) -> Kernel:
    groups, (outputs, inputs, *_) = kernel.groups, kernel.weight.shape
    by_group = factor.view(groups, 1, inputs).expand(groups, outputs // groups, inputs)
    return kernel._replace(weight=kernel.weight * by_group.reshape(outputs, inputs, 1, 1))


def _joins(first: Kernel, shape: Shape, second: Kernel) -> bool:
    """Return whether two convolutions are one: no zeros between them, or zeros that stay zeros."""
    sizes = (first.shape[1:], second.window, second.stride, second.before, second.shape[1:])
    reach = zip(*sizes, strict=True)
    inside = all(
        before <= 0 and (count - 1) * step + window - before <= length
        for length, window, step, before, count in reach
    )
    return inside or _is_pointwise(first, shape)


def _joined(first: Kernel, second: Kernel) -> Kernel:
    """Return the convolution that does what two do.

    K[o, i, v] = sum_{m, a} W2[o, m, a] W1[m, i, v - stride1 a], in each group that both share.
    """
    groups = math.gcd(first.groups, second.groups)
    inner = regrouped(first, groups).chunk(groups)
    outer = regrouped(second, groups).chunk(groups)
    weights = [
        F.conv_transpose2d(behind, front, stride=first.stride)
        for front, behind in zip(inner, outer, strict=True)
    ]
    (rows1, columns1), (rows2, columns2) = first.stride, second.stride
    (top1, left1), (top2, left2) = first.before, second.before
    return Kernel(
        (*first.paths, *second.paths),
        torch.cat(weights),
        (rows1 * rows2, columns1 * columns2),
        (top1 + rows1 * top2, left1 + columns1 * left2),
        groups,
        second.shape,
    )
