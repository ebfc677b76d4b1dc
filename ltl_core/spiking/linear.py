"""The linear part of a layer: pooling, unfolding, the product with the weights, and its gradients.

Teacher, student and the host's model of a chip share these functions. Their sums and gradients have
channels innermost in memory.
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
    """The input of a branch, pooled and unfolded for the product with the branch's weights.

    A convolution becomes a matrix product: `values` has one line for each position, which holds
    the patch of the input there, channels innermost. Bytes and grouped convolutions are not
    unfolded: for them `values` is the pooled input, and the product is a convolution.
    """

    branch: Branch
    values: Tensor
    samples: int
    output_shape: Shape

    @property
    def in_bytes(self) -> bool:
        """Whether the values are spikes in bytes, for a product in integers."""
        return self.values.dtype == torch.uint8


class BranchWeights(NamedTuple):
    """Weights of a branch, `scale * matrix`, with rows in the order of the unfolded input.

    A straight branch has a single gain as its matrix, and no bias.
    """

    matrix: Tensor  # [column, row]
    bias: Float[Tensor, " column"] | None
    scale: float | None = None

    @property
    def row_type(self) -> torch.dtype:
        """Number type of the unfolded input that these weights multiply."""
        return self.matrix.dtype


class ByteWeights(NamedTuple):
    """Weights of a branch as integer codes: the same sums as `BranchWeights`, in bytes."""

    layer: Weighted
    packed: Tensor  # from `pack_bytes`
    bias: Float[Tensor, " column"]
    scale: float  # weight of one code

    @property
    def row_type(self) -> torch.dtype:
        """Number type of the unfolded input that these weights multiply."""
        return torch.uint8


PackedWeights = BranchWeights | ByteWeights


def unfold(
    branch: Branch, source: Real[Tensor, "n *source"], row_type: torch.dtype | None = None
) -> UnfoldedInput:
    """Pool the source and unfold it, to numbers of `row_type` or else of the source's own type."""
    row_type = row_type or source.dtype
    values = pool(branch, source.to(row_type) if branch.pools else source)
    layer, shape = branch.layer, branch.input_shape
    if layer is not None:
        shape = layer.output_shape(shape)
    if isinstance(layer, Conv2d) and layer.groups == 1 and row_type != torch.uint8:
        values = _patches(layer, values, shape, row_type)
    else:
        values = values.to(row_type)
    return UnfoldedInput(branch, values, len(source), shape)


def pool(branch: Branch, values: Real[Tensor, "n *source"]) -> Real[Tensor, "n *input"]:
    """Return the source of a branch after its pools, flattened in front of a linear layer."""
    for window in branch.pools:
        values = F.avg_pool2d(values, window.kernel, window.stride)
    return values.flatten(1) if isinstance(branch.layer, Linear) else values


def pool_backward(
    branch: Branch, gradient: Float[Tensor, "n *input"]
) -> Float[Tensor, "n *source"]:
    """Return the gradient by the source: each value of a window gets its share."""
    gradient = gradient.reshape(len(gradient), *branch.input_shape)
    before, shape = [], branch.source_shape
    for window in branch.pools:
        before.append((window, shape))
        shape = window.output_shape(shape)
    for window, shape in reversed(before):
        like = gradient.new_empty(1).expand(len(gradient), *shape)
        gradient = torch.ops.aten.avg_pool2d_backward(
            gradient, like, window.kernel, window.stride, (0, 0), False, True, None
        )
    return gradient


def branch_weights(stage: Stage, weights: Mapping[str, Tensor]) -> tuple[BranchWeights, ...]:
    """Return the weights of every branch, with rows in the order of its unfolded input.

    The gains of straight branches are in `STAGE.gain`, one number a branch; without it they are 1.
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
    """Return sum_j W_ij x_j + b_i of one branch."""
    layer = rows.branch.layer
    if isinstance(weights, ByteWeights):
        sums = sums_of_bytes(weights.layer, rows.values, weights.packed)
        return _with_positions(_scaled(_lines(sums), weights), rows)
    if layer is None:
        return rows.values * weights.matrix
    if isinstance(layer, Conv2d) and layer.groups != 1:
        return _grouped_sums(layer, rows, weights)
    if weights.scale is None:
        return _with_positions(F.linear(rows.values, weights.matrix, weights.bias), rows)
    return _with_positions(_scaled(F.linear(rows.values, weights.matrix), weights), rows)


def add_weight_gradient(
    total: Float[Tensor, "column row"],
    rows: UnfoldedInput,
    delta: Float[Tensor, "n *output"],
    fraction: float,
) -> None:
    """Add fraction * sum_n delta_i[n] x_j[n] to `total`, in place."""
    layer = rows.branch.layer
    if isinstance(layer, Conv2d) and layer.groups != 1:
        gradient = conv2d_weight(
            rows.values, layer.weight_shape, delta, layer.stride, layer.padding, 1, layer.groups
        )
        total.add_(as_matrix(layer, gradient), alpha=fraction)
        return
    values = rows.values
    if isinstance(layer, Conv2d) and rows.in_bytes:
        values = _patches(layer, values, rows.output_shape, delta.dtype)
    total.addmm_(_lines(delta).T, values.to(delta.dtype), alpha=fraction)


def add_byte_gradient(
    total: Float[Tensor, "column row"],
    rows: UnfoldedInput,
    delta: Float[Tensor, "n *output"],
    fraction: float,
) -> None:
    """Add the gradient of an input in bytes to `total`, in place, with the deltas rounded to bytes.

    The rows of `total` must be outermost in memory.
    """
    layer, deltas = rows.branch.layer, quantise_deltas(delta)
    if layer is not None and deltas is not None:
        transposed = transpose(layer, rows.values, rows.output_shape[1:])
        add_outer_product(total.T, transposed, deltas, fraction)


def input_gradient(
    branch: Branch, weight: Tensor, delta: Float[Tensor, "n *output"]
) -> Float[Tensor, "n *source"]:
    """Return sum_i W_ij delta_i, taken back through the pools: the error of the branch's source.

    `weight` has the layer's own shape; for a straight branch it is the gain.
    """
    layer = branch.layer
    if layer is None:
        return pool_backward(branch, delta * weight)
    if isinstance(layer, Linear):
        return pool_backward(branch, delta @ weight)
    shape = (len(delta), *branch.input_shape)
    back = conv2d_input(shape, weight, delta, layer.stride, layer.padding, 1, layer.groups)
    return pool_backward(branch, back)


def bias_gradient(delta: Float[Tensor, "n column *position"]) -> Float[Tensor, " column"]:
    """Return the sum of the deltas over samples and positions."""
    return _lines(delta).sum(0)


def as_matrix(layer: Weighted, weight: Tensor) -> Float[Tensor, "column row"]:
    """Return a layer's weight as a matrix, with rows by position in the kernel, then by channel."""
    return weight.permute(0, 2, 3, 1).flatten(1) if isinstance(layer, Conv2d) else weight


def as_weight(layer: Weighted, matrix: Float[Tensor, "column row"]) -> Tensor:
    """Return a matrix in the layer's own shape: the inverse of `as_matrix`."""
    if not isinstance(layer, Conv2d):
        return matrix
    columns, channels, *kernel = layer.weight_shape
    return matrix.view(columns, *kernel, channels).permute(0, 3, 1, 2)


def _grouped_sums(layer: Conv2d, rows: UnfoldedInput, weights: BranchWeights) -> Tensor:
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


def _scaled(
    sums: Float[Tensor, "line column"], weights: PackedWeights
) -> Float[Tensor, "line column"]:
    """Return scale * sums + bias, in place.

    Codes are summed before they meet the scale: as integers their sum is exact in any order.
    """
    scale = 1.0 if weights.scale is None else weights.scale
    if weights.bias is None:
        return sums.mul_(scale)
    return torch.add(weights.bias, sums, alpha=scale, out=sums)


def _lines(values: Float[Tensor, "n column *position"]) -> Float[Tensor, "line column"]:
    """Return values with one line for each sample and position."""
    return values.permute(0, 2, 3, 1).flatten(0, 2) if values.dim() == 4 else values


def _patches(
    layer: Conv2d, values: Real[Tensor, "n c h w"], shape: Shape, row_type: torch.dtype
) -> Real[Tensor, "line row"]:
    (high, wide), (down, right) = layer.kernel, layer.stride
    values = _padded(layer, values, row_type)
    n, _, _, channels = values.shape
    by_sample, by_row, by_column, _ = values.stride()
    patches = values.as_strided(
        (n, *shape[1:], high, wide, channels),
        (by_sample, by_row * down, by_column * right, by_row, by_column, 1),
    )
    return patches.reshape(-1, high * wide * channels)


def _padded(
    layer: Conv2d, values: Real[Tensor, "n c h w"], row_type: torch.dtype
) -> Real[Tensor, "n padded_h padded_w c"]:
    """Return values with channels innermost and zeros around."""
    (top, left), (n, channels, high, wide) = layer.padding, values.shape
    inner = values.permute(0, 2, 3, 1)
    if (top, left) == (0, 0):
        return inner.to(row_type).contiguous()
    shape = (n, high + 2 * top, wide + 2 * left, channels)
    padded = torch.zeros(shape, dtype=row_type, device=values.device)
    padded[:, top : top + high, left : left + wide] = inner
    return padded


def _with_positions(
    product: Float[Tensor, "line column"], rows: UnfoldedInput
) -> Float[Tensor, "n *output"]:
    """Return a product of lines in the shape of the branch's output."""
    if not isinstance(rows.branch.layer, Conv2d):
        return product
    columns, *positions = rows.output_shape
    return product.view(rows.samples, *positions, columns).permute(0, 3, 1, 2)
