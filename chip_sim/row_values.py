"""What is played into the rows of a layer, as a matrix [row, point].

A point is one position of one sample: a convolution and a linear layer are then the same product,
and a row of tiles is a slice of rows.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ltl_core.network.layers import AvgPool2d, Conv2d, size
from ltl_core.network.stages import Stage

_POINTS_MIN = 512  # fewer make poor matrix products
_NUMBERS = 1 << 19  # size of a matrix that stays in the cache


class RowValues(NamedTuple):
    """The values that some of the samples play into the rows of a layer."""

    samples: slice
    values: Float[Tensor, "row point"]  # sample by sample, position by position


def pool(
    values: Float[Tensor, "batch *source"], pools: tuple[AvgPool2d, ...]
) -> Float[Tensor, "batch *input"]:
    """Return the mean over each pooling window, which the row drivers play."""
    for window in pools:
        values = F.avg_pool2d(values, window.kernel, window.stride)
    return values


def positions(stage: Stage) -> tuple[int, ...]:
    """Return the positions of a convolution's kernel; a linear layer has one, without axes."""
    return stage.output_shape[1:]


def samples_at_a_time(batch: int, stage: Stage, times: int = 1) -> Iterator[slice]:
    """Yield a few samples at a time, so that their sums are converted while they are in the cache.

    `times` is how often their values are read.
    """
    points = max(_POINTS_MIN // times, _NUMBERS // max(stage.rows, stage.columns * times))
    count = max(1, points // size(positions(stage)))
    for first in range(0, batch, count):
        yield slice(first, min(first + count, batch))


def rows_of(
    values: Float[Tensor, "batch *input"], stage: Stage, times: int = 1
) -> Iterator[RowValues]:
    """Yield the values of a few samples at a time, which are read so many times.

    The matrix of a convolution is overwritten when the next one is asked for.
    """
    room = values.new_empty(0)  # taken once: new memory costs more than writing into it
    for samples in samples_at_a_time(values.shape[0], stage, times):
        if isinstance(stage.layer, Conv2d):
            windows = _windows(values[samples], stage.layer)
            if room.shape != windows.shape:
                room = values.new_empty(windows.shape)
            yield RowValues(samples, _matrix(room.copy_(windows)))
        else:
            yield RowValues(samples, values[samples].flatten(1).T)


def unfold(
    values: Float[Tensor, "batch channel height width"], layer: Conv2d
) -> Float[Tensor, "row point"]:
    """Return one row for each weight of a kernel: a strided copy of the padded input."""
    return _matrix(_windows(values, layer).contiguous())


def _windows(
    values: Float[Tensor, "batch channel height width"], layer: Conv2d
) -> Float[Tensor, "channel high wide batch *position"]:
    """Return a view of what each weight of a kernel multiplies at each position."""
    (down, right), (high, wide) = layer.padding, layer.kernel
    padded = F.pad(values, (right, right, down, down))
    windows = padded.unfold(2, high, layer.stride[0]).unfold(3, wide, layer.stride[1])
    return windows.permute(1, 4, 5, 0, 2, 3)


def _matrix(
    windows: Float[Tensor, "channel high wide batch *position"],
) -> Float[Tensor, "row point"]:
    return windows.flatten(3).flatten(0, 2)
