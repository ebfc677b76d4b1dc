"""The linear part of a layer: pooling, the product with the weights, and the gradient of that.

Teacher, student and the host's view of a chip share these functions.
"""

from collections.abc import Mapping
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn.grad import conv2d_input, conv2d_weight

from ltl_core.network import Branch, Conv2d, Linear, Shape, Stage, Weighted


class Rows(NamedTuple):
    """What reaches the rows of a branch, laid out for the product with its weights.

    A convolution becomes a matrix product: one line of `values` a position, channels innermost,
    each patch of the input written out. Groups are left to torch's own convolution.
    """

    branch: Branch
    values: Tensor
    samples: int
    output_shape: Shape


class BranchWeights(NamedTuple):
    """Weights in the order of the rows of a branch; a straight one has a gain and no bias.

    A weight is `scale * matrix`. `packed`, where there is one, is the matrix as bytes for rows of
    bytes: the same sums, in integers.
    """

    matrix: Tensor
    bias: Float[Tensor, " column"] | None
    scale: float | None = None
    packed: Tensor | None = None

    @property
    def row_type(self) -> torch.dtype | None:
        """What the rows are laid out as; None: as they come."""
        return None if self.packed is None else torch.uint8


def lay_rows(
    branch: Branch, source: Float[Tensor, "n *source"], row_type: torch.dtype | None = None
) -> Rows:
    """Pool the source, and lay it out."""
    values, shape = gather(branch, source), branch.input_shape
    layer = branch.layer
    if layer is not None:
        shape = layer.output_shape(shape)
    if isinstance(layer, Conv2d) and layer.groups == 1:
        values = _patches(layer, values, shape, row_type)
    elif row_type is not None:
        values = values.to(row_type)
    return Rows(branch, values, len(source), shape)


def gather(branch: Branch, values: Float[Tensor, "n *source"]) -> Float[Tensor, "n *input"]:
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
    """The weights of every branch, laid out like its rows.

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


def column_sums(rows: Rows, weights: BranchWeights) -> Float[Tensor, "n *output"]:
    """sum_j W_ij x_j + b_i, channels innermost in memory."""
    layer = rows.branch.layer
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
    product = _product(rows.values, weights)
    return _with_positions(product, rows) if isinstance(layer, Conv2d) else product


def add_weight_gradient(
    total: Float[Tensor, "column row"], rows: Rows, delta: Float[Tensor, "n *output"], part: float
) -> None:
    """total += part sum_n delta_i[n] x_j[n], in place."""
    layer = rows.branch.layer
    if isinstance(layer, Conv2d) and layer.groups != 1:
        gradient = conv2d_weight(
            rows.values, layer.weight_shape, delta, layer.stride, layer.padding, 1, layer.groups
        )
        total.add_(as_matrix(layer, gradient), alpha=part)
        return
    lines = delta.permute(0, 2, 3, 1).flatten(0, 2) if isinstance(layer, Conv2d) else delta
    total.addmm_(lines.T, rows.values.to(lines.dtype), alpha=part)


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
    return (delta.permute(0, 2, 3, 1).flatten(0, 2) if delta.dim() == 4 else delta).sum(0)


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


def pack_bytes(matrix: Float[Tensor, "column row"]) -> Tensor | None:
    """The matrix for a product in bytes; None where the processor or torch has none.

    Exact for rows of zeros and ones and codes within a signed byte: no sum of two products leaves
    the sixteen bits that older processors add them up in, and oneDNN adds the rest in 32.
    """
    if matrix.device.type != "cpu" or not torch.backends.mkldnn.is_available():
        return None
    packed: Tensor = torch.ops.onednn.qlinear_prepack(matrix.to(torch.int8), None)
    return packed


def _product(rows: Tensor, weights: BranchWeights) -> Float[Tensor, "line column"]:
    """Codes are summed exactly, whatever the order, before they meet scale and bias."""
    if weights.scale is None:
        return F.linear(rows, weights.matrix, weights.bias)
    if rows.dtype == torch.uint8 and weights.packed is not None:
        sums = _byte_product(rows, weights.packed, len(weights.matrix))
    else:
        sums = F.linear(rows, weights.matrix)
    sums *= weights.scale
    return sums if weights.bias is None else sums.add_(weights.bias)


def _byte_product(
    rows: UInt8[Tensor, "line row"], packed: Tensor, columns: int
) -> Float[Tensor, "line column"]:
    ones, zeros = torch.ones(columns), torch.zeros(columns, dtype=torch.long)
    sums: Tensor = torch.ops.onednn.qlinear_pointwise(
        rows, 1.0, 0, packed, ones, zeros, None, 1.0, 0, torch.float32, "none", [], ""
    )
    return sums


def _patches(
    layer: Conv2d, values: Float[Tensor, "n c h w"], shape: Shape, row_type: torch.dtype | None
) -> Tensor:
    (high, wide), (down, right) = layer.kernel, layer.stride
    values = _padded(layer, values, row_type or values.dtype)
    n, _, _, channels = values.shape
    by_sample, by_row, by_column, _ = values.stride()
    windows = values.as_strided(
        (n, *shape[1:], high, wide, channels),
        (by_sample, by_row * down, by_column * right, by_row, by_column, 1),
    )
    return windows.reshape(-1, high * wide * channels)


def _padded(
    layer: Conv2d, values: Float[Tensor, "n c h w"], row_type: torch.dtype
) -> Float[Tensor, "n h w c"]:
    """Channels innermost, zeros around."""
    (top, left), (n, channels, high, wide) = layer.padding, values.shape
    inner = values.permute(0, 2, 3, 1)
    if (top, left) == (0, 0):
        return inner.to(row_type).contiguous()
    shape = (n, high + 2 * top, wide + 2 * left, channels)
    padded = torch.zeros(shape, dtype=row_type, device=values.device)
    padded[:, top : top + high, left : left + wide] = inner
    return padded


def _with_positions(product: Tensor, rows: Rows) -> Float[Tensor, "n *output"]:
    columns, *positions = rows.output_shape
    return product.view(rows.samples, *positions, columns).permute(0, 3, 1, 2)
