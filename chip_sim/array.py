"""The multiply: what reaches the rows of a layer, times its weights, one row of tiles at a time."""

from collections.abc import Iterator

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ltl_core.network import AvgPool2d, Conv2d, Linear, Stage


def pool(
    values: Float[Tensor, "batch *source"], pools: tuple[AvgPool2d, ...]
) -> Float[Tensor, "batch *input"]:
    """The row drivers play the mean over each window."""
    for window in pools:
        values = F.avg_pool2d(values, window.kernel, window.stride)
    return values


def multiply(
    values: Float[Tensor, "batch *input"],
    weight: Float[Tensor, "column row"],
    stage: Stage,
    row_blocks: tuple[slice, ...],
) -> Iterator[Float[Tensor, "batch column *position"]]:
    """Column sums sum_j w_ij x_j, of every row of tiles by itself."""
    for rows in row_blocks:
        match stage.layer:
            case Conv2d():
                yield _convolve(values, weight[:, rows], stage.layer, rows)
            case Linear():
                yield values.flatten(1)[:, rows] @ weight[:, rows].T


def _convolve(
    values: Float[Tensor, "batch channel height width"],
    weight: Float[Tensor, "column row"],
    layer: Conv2d,
    rows: slice,
) -> Float[Tensor, "batch column height width"]:
    """Only the channels that these rows belong to; rows of other tiles count as zero weights."""
    window = layer.kernel[0] * layer.kernel[1]
    first, last = rows.start // window, -(-rows.stop // window)
    kernel = F.pad(weight, (rows.start - first * window, last * window - rows.stop))
    return F.conv2d(
        values[:, first:last],
        kernel.view(-1, last - first, *layer.kernel),
        stride=layer.stride,
        padding=layer.padding,
    )


def multiply_noise(
    values: Float[Tensor, "batch *input"], stage: Stage, row_blocks: tuple[slice, ...], sigma: float
) -> Iterator[Float[Tensor, "batch one *position"]]:
    """Standard deviation of each column sum when every weight is read with N(0, sigma^2).

    sqrt(sum_j sigma^2 x_j^2): the same for all columns, so one column of ones measures it.
    """
    ones = values.new_ones((1, stage.rows))
    for energy in multiply(values.square(), ones, stage, row_blocks):
        yield energy.clamp(min=0).sqrt() * sigma
