"""The input of a layer, pooled and unfolded for a matrix product, and the way back.

An unfolded input has one line for each sample, step and position of the output.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Real
from torch import Tensor

from ltl_core.network.layers import Conv2d, Linear, Shape
from ltl_core.network.stages import Branch


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
        values = patches(layer, values, shape, row_type)
    else:
        values = values.to(row_type)
    return UnfoldedInput(branch, values, len(source), shape)


def unfold_steps(
    branch: Branch,
    source: Real[Tensor, "time n *source"],
    row_type: torch.dtype | None = None,
) -> UnfoldedInput:
    """Return the unfolded input of a branch over several steps, in the order of `join_time`."""
    return unfold(branch, join_time(source), row_type)


def join_time(values: Real[Tensor, "time n *shape"]) -> Real[Tensor, "both *shape"]:
    """Join steps and samples, sample after sample; channels stay innermost in memory."""
    values = values.transpose(0, 1)
    if values.dim() != 5:
        return values.flatten(0, 1)
    return values.permute(0, 1, 3, 4, 2).flatten(0, 1).permute(0, 3, 1, 2)


def split_time(values: Real[Tensor, "both *shape"], steps: int) -> Real[Tensor, "time n *shape"]:
    """Split steps and samples that `join_time` joined."""
    split: Tensor = values.unflatten(0, (-1, steps))
    return split.transpose(0, 1)


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


def patches(
    layer: Conv2d, values: Real[Tensor, "n c h w"], shape: Shape, row_type: torch.dtype
) -> Real[Tensor, "line row"]:
    """Return the patch of each position of a convolution's output, of this shape, as a line."""
    (high, wide), (down, right) = layer.kernel, layer.stride
    values = _padded(layer, values, row_type)
    n, _, _, channels = values.shape
    by_sample, by_row, by_column, _ = values.stride()
    windows = values.as_strided(
        (n, *shape[1:], high, wide, channels),
        (by_sample, by_row * down, by_column * right, by_row, by_column, 1),
    )
    return windows.reshape(-1, high * wide * channels)


def lines(values: Float[Tensor, "n column *position"]) -> Float[Tensor, "line column"]:
    """Return values with one line for each sample and position."""
    return values.permute(0, 2, 3, 1).flatten(0, 2) if values.dim() == 4 else values


def with_positions(
    product: Float[Tensor, "line column"], rows: UnfoldedInput
) -> Float[Tensor, "n *output"]:
    """Return a product of lines in the shape of the branch's output."""
    if not isinstance(rows.branch.layer, Conv2d):
        return product
    columns, *positions = rows.output_shape
    return product.view(rows.samples, *positions, columns).permute(0, 3, 1, 2)


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
