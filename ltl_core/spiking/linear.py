"""The linear part of a layer: the product of its unfolded input with the weights, and the way back.

Teacher, student and the host's model of a chip share these functions. Their sums and gradients have
channels innermost in memory.
"""

from collections.abc import Mapping
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor
from torch.nn.grad import conv2d_input

from ltl_core.network.layers import Conv2d, Linear, Weighted
from ltl_core.network.stages import Branch, Stage
from ltl_core.spiking.byte_products import sums_of_bytes
from ltl_core.spiking.unfolding import UnfoldedInput, lines, pool_backward, with_positions


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
        return with_positions(_scaled(lines(sums), weights), rows)
    if layer is None:
        return rows.values * weights.matrix
    if isinstance(layer, Conv2d) and layer.groups != 1:
        return _grouped_sums(layer, rows, weights)
    if weights.scale is None:
        return with_positions(F.linear(rows.values, weights.matrix, weights.bias), rows)
    return with_positions(_scaled(F.linear(rows.values, weights.matrix), weights), rows)


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
