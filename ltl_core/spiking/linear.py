"""The linear part of a layer: pooling, the product with the weights, and the gradient of that.

Teacher, student and the host's view of a chip share these functions.
"""

from collections.abc import Mapping
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Real
from torch import Tensor
from torch.nn.grad import conv2d_input, conv2d_weight

from ltl_core.network.layers import Conv2d, Linear, Shape, Weighted
from ltl_core.network.stages import Branch, Stage
from ltl_core.spiking.byte_products import (
    add_outer_product,
    quantise_deltas,
    sums_of_bytes,
    transpose,
)


class UnfoldedInput(NamedTuple):
    """What reaches the rows of a branch, unfolded for the product with its weights.

    A convolution becomes a matrix product: one line of `values` a position, channels innermost,
    each patch of the input written out. Bytes and groups are left to convolutions as such.
    """

    branch: Branch
    values: Tensor
    samples: int
    output_shape: Shape

    @property
    def in_bytes(self) -> bool:
        """Spikes for a product in integers."""
        return self.values.dtype == torch.uint8


class BranchWeights(NamedTuple):
    """Weights in the order of the rows of a branch; a straight one has a gain and no bias.

    A weight is `scale * matrix`.
    """

    matrix: Tensor
    bias: Float[Tensor, " column"] | None
    scale: float | None = None

    @property
    def row_type(self) -> torch.dtype:
        """What the rows are unfolded as."""
        return self.matrix.dtype


class ByteWeights(NamedTuple):
    """Codes for rows of bytes: the sums of `BranchWeights` with the same scale, in integers."""

    layer: Weighted
    packed: Tensor
    bias: Float[Tensor, " column"]
    scale: float

    @property
    def row_type(self) -> torch.dtype:
        """What the rows are unfolded as."""
        return torch.uint8


PackedWeights = BranchWeights | ByteWeights


def unfold(
    branch: Branch, source: Real[Tensor, "n *source"], row_type: torch.dtype | None = None
) -> UnfoldedInput:
    """Pool the source, and unfold it to numbers of this type, or of its own."""
    row_type = row_type or source.dtype
    values = gather(branch, source.to(row_type) if branch.pools else source)
    layer, shape = branch.layer, branch.input_shape
    if layer is not None:
        shape = layer.output_shape(shape)
    if isinstance(layer, Conv2d) and layer.groups == 1 and row_type != torch.uint8:
        values = _patches(layer, values, shape, row_type)
    else:
        values = values.to(row_type)
    return UnfoldedInput(branch, values, len(source), shape)


def gather(branch: Branch, values: Real[Tensor, "n *source"]) -> Real[Tensor, "n *input"]:
    """What the rows of a branch see: its source, pooled, and flat in front of a linear layer."""
    for pool in branch.pools:
        values = F.avg_pool2d(values, pool.kernel, pool.stride)
    return values.flatten(1) if isinstance(branch.layer, Linear) else values


def scatter(branch: Branch, gradient: Float[Tensor, "n *input"]) -> Float[Tensor, "n *source"]:
    """The way back through `gather`: each value of a window has its share of the gradient."""
    gradient = gradient.reshape(len(gradient), *branch.input_shape)
    before, shape = [], branch.source_shape
    for pool in branch.pools:
        before.append((pool, shape))
        shape = pool.output_shape(shape)
    for pool, shape in reversed(before):
        like = gradient.new_empty(1).expand(len(gradient), *shape)
        gradient = torch.ops.aten.avg_pool2d_backward(
            gradient, like, pool.kernel, pool.stride, (0, 0), False, True, None
        )
    return gradient


def branch_weights(stage: Stage, weights: Mapping[str, Tensor]) -> tuple[BranchWeights, ...]:
    """The weights of every branch, in the order of its rows.

    A straight branch has a gain in `STAGE.gain`, one number for each of them; without it, 1.
    """
    gains = iter(weights.get(f"{stage.name}.gain", torch.ones(len(stage.branches))))
    return tuple(
        BranchWeights(next(gains), None)
        if branch.layer is None
        else BranchWeights(
            as_matrix(branch.layer, weights[f"{branch.layer.name}.weight"]),
            weights[f"{branch.layer.name}.bias"],
        )
        for branch in stage.branches
    )


def weighted_sums(rows: UnfoldedInput, weights: PackedWeights) -> Float[Tensor, "n *output"]:
    """sum_j W_ij x_j + b_i, channels innermost in memory."""
    layer = rows.branch.layer
    if isinstance(weights, ByteWeights):
        sums = sums_of_bytes(weights.layer, rows.values, weights.packed)
        return _with_positions(_scaled(_lines(sums), weights), rows)
    if layer is None:
        return rows.values * weights.matrix
    if isinstance(layer, Conv2d) and layer.groups != 1:
        sums = F.conv2d(
            rows.values,
            as_weight(layer, weights.matrix),
            weights.bias,
            layer.stride,
            layer.padding,
            1,
            layer.groups,
        )
        return sums.contiguous(memory_format=torch.channels_last)
    if weights.scale is None:
        return _with_positions(F.linear(rows.values, weights.matrix, weights.bias), rows)
    return _with_positions(_scaled(F.linear(rows.values, weights.matrix), weights), rows)


def add_weight_gradient(
    total: Float[Tensor, "column row"],
    rows: UnfoldedInput,
    delta: Float[Tensor, "n *output"],
    part: float,
) -> None:
    """total += part sum_n delta_i[n] x_j[n], in place."""
    layer = rows.branch.layer
    if isinstance(layer, Conv2d) and layer.groups != 1:
        gradient = conv2d_weight(
            rows.values, layer.weight_shape, delta, layer.stride, layer.padding, 1, layer.groups
        )
        total.add_(as_matrix(layer, gradient), alpha=part)
        return
    values = rows.values
    if isinstance(layer, Conv2d) and rows.in_bytes:
        values = _patches(layer, values, rows.output_shape, delta.dtype)
    total.addmm_(_lines(delta).T, values.to(delta.dtype), alpha=part)


def add_byte_gradient(
    total: Float[Tensor, "column row"],
    rows: UnfoldedInput,
    delta: Float[Tensor, "n *output"],
    part: float,
) -> None:
    """The same of rows of bytes, the deltas rounded to bytes; `total` has its rows outermost."""
    layer, deltas = rows.branch.layer, quantise_deltas(delta)
    if layer is not None and deltas is not None:
        transposed = transpose(layer, rows.values, rows.output_shape[1:])
        add_outer_product(total.T, transposed, deltas, part)


def input_gradient(
    branch: Branch, weight: Tensor, delta: Float[Tensor, "n *output"]
) -> Float[Tensor, "n *source"]:
    """sum_i W_ij delta_i, back through the pooling: what an end-to-end rule hands down."""
    layer = branch.layer
    if layer is None:
        return scatter(branch, delta * weight)
    if isinstance(layer, Linear):
        return scatter(branch, delta @ weight)
    shape = (len(delta), *branch.input_shape)
    back = conv2d_input(shape, weight, delta, layer.stride, layer.padding, 1, layer.groups)
    return scatter(branch, back)


def bias_gradient(delta: Float[Tensor, "n column *position"]) -> Float[Tensor, " column"]:
    """sum over samples and positions."""
    return _lines(delta).sum(0)


def per_column(values: Float[Tensor, " column"], shape: Shape) -> Float[Tensor, "column *one"]:
    """A number a column, shaped so that it broadcasts over [..., column, *position]."""
    return values.view(-1, *[1] * (len(shape) - 1))


def as_matrix(layer: Weighted, weight: Tensor) -> Float[Tensor, "column row"]:
    """Rows in the order of the patches: position in the kernel, then channel."""
    return weight.permute(0, 2, 3, 1).flatten(1) if isinstance(layer, Conv2d) else weight


def as_weight(layer: Weighted, matrix: Float[Tensor, "column row"]) -> Tensor:
    """Back from the order of the patches."""
    if not isinstance(layer, Conv2d):
        return matrix
    columns, channels, *kernel = layer.weight_shape
    return matrix.view(columns, *kernel, channels).permute(0, 3, 1, 2)


def _scaled(
    sums: Float[Tensor, "line column"], weights: PackedWeights
) -> Float[Tensor, "line column"]:
    """Codes are summed exactly, whatever the order, before they meet scale and bias."""
    scale = 1.0 if weights.scale is None else weights.scale
    if weights.bias is None:
        return sums.mul_(scale)
    return torch.add(weights.bias, sums, alpha=scale, out=sums)


def _lines(values: Float[Tensor, "n column *position"]) -> Float[Tensor, "line column"]:
    """One line a position."""
    return values.permute(0, 2, 3, 1).flatten(0, 2) if values.dim() == 4 else values


def _patches(
    layer: Conv2d, values: Real[Tensor, "n c h w"], shape: Shape, row_type: torch.dtype
) -> Tensor:
    (high, wide), (down, right) = layer.kernel, layer.stride
    values = _padded(layer, values, row_type)
    n, _, _, channels = values.shape
    by_sample, by_row, by_column, _ = values.stride()
    windows = values.as_strided(
        (n, *shape[1:], high, wide, channels),
        (by_sample, by_row * down, by_column * right, by_row, by_column, 1),
    )
    return windows.reshape(-1, high * wide * channels)


def _padded(
    layer: Conv2d, values: Real[Tensor, "n c h w"], row_type: torch.dtype
) -> Real[Tensor, "n padded_h padded_w c"]:
    """Channels innermost, zeros around."""
    (top, left), (n, channels, high, wide) = layer.padding, values.shape
    inner = values.permute(0, 2, 3, 1)
    if (top, left) == (0, 0):
        return inner.to(row_type).contiguous()
    shape = (n, high + 2 * top, wide + 2 * left, channels)
    padded = torch.zeros(shape, dtype=row_type, device=values.device)
    padded[:, top : top + high, left : left + wide] = inner
    return padded


def _with_positions(product: Float[Tensor, "line column"], rows: UnfoldedInput) -> Tensor:
    if not isinstance(rows.branch.layer, Conv2d):
        return product
    columns, *positions = rows.output_shape
    return product.view(rows.samples, *positions, columns).permute(0, 3, 1, 2)
