"""The products of what is played into the rows of a layer with the weights of each row of tiles.

Spikes on a convolution are multiplied as images, which need no copy for each weight of a kernel,
where all sums are exact whatever the order of their terms. All else is a product of matrices.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from chip_sim.pair import RESOLUTION
from chip_sim.row_values import rows_of, samples_at_a_time
from chip_sim.spec import groups_of
from ltl_core.network.layers import Conv2d, size
from ltl_core.network.stages import Stage

_EXACT = 2.0**24 * RESOLUTION  # sums of weights up to here are exact in single precision


class RowInput(NamedTuple):
    """What is played into the rows."""

    values: Float[Tensor, "batch *input"]  # whole DAC codes, or spikes averaged over pools
    times: int  # how often the same values are read
    analog: bool  # whether the values are DAC codes
    binary: bool = False  # whether every value is known to be 0 or 1


@runtime_checkable
class Part(Protocol):
    """What a few samples play. A point is one position of one sample."""

    @property
    def samples(self) -> slice:
        """The samples."""
        ...

    @property
    def points(self) -> int:
        """Number of points: sample by sample, position by position."""
        ...

    @property
    def by_point(self) -> bool:
        """Whether the sums of a point are to lie beside each other in memory."""
        ...

    def multiply(self, tiles: range, out: Float[Tensor, "tile column point"]) -> None:
        """Write the column sums of some rows of tiles to `out`."""
        ...

    def squares(self, tiles: range) -> Float[Tensor, "tile group point"]:
        """Return sum_j x_j^2 of what is played into rows of tiles that were just multiplied."""
        ...


class MatrixPart(NamedTuple):
    """A product of matrices; the columns of a group use its rows alone."""

    samples: slice
    weight: Float[Tensor, "group column row"]
    values: Float[Tensor, "group row point"]
    blocks: tuple[slice, ...]
    binary: bool

    @property
    def points(self) -> int:
        """Number of points."""
        return self.values.shape[2]

    @property
    def by_point(self) -> bool:
        """Whether sums are to lie point by point, as those of a linear layer do."""
        return self.weight.shape[0] == 1 and self.values.stride(1) == 1

    def multiply(self, tiles: range, out: Float[Tensor, "tile column point"]) -> None:
        """Multiply in the order of operands that reads the values along memory."""
        first = self._alike(tiles)
        if first:
            played, weight = self._cut(self.values.mT, first), self._cut(self.weight, first)
            torch.bmm(played, weight.mT, out=out[: len(first)].mT)
        for place, tile in enumerate(tiles):
            if tile not in first:
                self._multiply(self.blocks[tile], out[place])

    def squares(self, tiles: range) -> Float[Tensor, "tile group point"]:
        """Return the sums of squares."""
        first = self._alike(tiles)
        found = [self._cut(self.values.mT, first).sum(-1)[:, None]] if first else []
        for tile in tiles[len(first) :]:
            played = self.values[:, self.blocks[tile]]
            found.append(sum_of_squares(played, binary=self.binary)[None])
        return torch.cat(found)

    def _alike(self, tiles: range) -> range:
        """Return the rows of tiles that are multiplied at once: all, or all but a smaller end."""
        if len(tiles) == 1 or not (self.by_point and self.binary):
            return tiles[:0]
        first, last = (self.blocks[tiles[end]] for end in (0, -1))
        return tiles if last.stop - last.start == first.stop - first.start else tiles[:-1]

    def _cut(
        self, matrix: Float[Tensor, "1 some row"], tiles: range
    ) -> Float[Tensor, "tile some _row"]:
        first, last = (self.blocks[tiles[end]] for end in (0, -1))
        some = matrix[0, :, first.start : last.stop]
        cut: Tensor = some.unflatten(1, (len(tiles), -1)).transpose(0, 1)
        return cut

    def _multiply(self, block: slice, out: Float[Tensor, "column point"]) -> None:
        weight, values = self.weight[:, :, block], self.values[:, block]
        if values.dtype is torch.float64:
            out.copy_((weight @ values).flatten(0, 1))
        elif self.by_point:
            torch.mm(values[0].T, weight[0].T, out=out.mT)
        elif weight.shape[0] == 1:
            torch.mm(weight[0], values[0], out=out)
        else:
            torch.bmm(weight, values, out=out.unflatten(0, (weight.shape[0], -1)))


class _Kernel(NamedTuple):
    """The weights of a row of tiles as the kernels of a convolution."""

    channels: slice
    weight: Float[Tensor, "_column channel high wide"]  # zero beyond the tile; the last is of ones


class ImagePart:
    """A convolution of spikes, 0 or 1, without groups."""

    by_point = False

    def __init__(
        self,
        samples: slice,
        spikes: Float[Tensor, "sample channel high wide"],
        kernels: Sequence[_Kernel],
        layer: Conv2d,
    ) -> None:
        """`spikes` are those of these samples."""
        self.samples, self._spikes, self._kernels, self._layer = samples, spikes, kernels, layer
        self.points = spikes.shape[0] * size(layer.output_shape(tuple(spikes.shape[1:]))[1:])

    def multiply(self, tiles: range, out: Float[Tensor, "tile column point"]) -> None:
        """Convolve with the kernels of each row of tiles."""
        layer, counts = self._layer, []
        for tile, sums in zip(tiles, out, strict=True):
            channels, kernel = self._kernels[tile]
            played = self._spikes[:, channels]
            found = F.conv2d(played, kernel, None, layer.stride, layer.padding).transpose(0, 1)
            sums.view(-1, *found.shape[1:]).copy_(found[:-1])
            counts.append(found[-1].reshape(1, -1))
        self._counts = torch.stack(counts)

    def squares(self, tiles: range) -> Float[Tensor, "tile group point"]:  # noqa: ARG002
        """Return the number of spikes: 0 and 1 are their own squares."""
        return self._counts


def sum_of_squares(
    values: Float[Tensor, "*group row point"], *, binary: bool = False
) -> Float[Tensor, "*group point"]:
    """Return sum_j x_j^2 at each point. Values that are 0 or 1 are their own squares."""
    # Several times as fast as linalg.vector_norm, where a point's rows lie far apart in memory.
    squares: Tensor = (values if binary else values.square()).sum(-2)
    return squares


def parts(
    weight: Float[Tensor, "column row"],
    blocks: tuple[slice, ...],
    rows_in: RowInput,
    stage: Stage,
) -> Iterator[Part]:
    """Yield a few samples at a time, whose sums stay in the cache until they are converted.

    A part is good until the next one is asked for.
    """
    values, groups, layer = rows_in.values, groups_of(stage), stage.layer
    if isinstance(layer, Conv2d) and groups == 1 and rows_in.binary and _is_exact(weight, blocks):
        kernels = [_kernel(weight, block, layer) for block in blocks]
        for samples in samples_at_a_time(values.shape[0], stage, rows_in.times):
            yield ImagePart(samples, values[samples], kernels, layer)
        return
    by_group = weight.unflatten(0, (groups, -1))
    for samples, rows in rows_of(values, stage, rows_in.times):
        played = rows.unflatten(0, (groups, -1))
        yield MatrixPart(samples, by_group, played, blocks, rows_in.binary)


def _is_exact(weight: Float[Tensor, "column row"], blocks: tuple[slice, ...]) -> bool:
    """Tell whether no order of terms can round a sum of weights, all multiples of 2^-10 code."""
    largest = max(float(weight[:, block].abs().sum(1).max()) for block in blocks)
    return largest < _EXACT


def _kernel(weight: Float[Tensor, "column row"], block: slice, layer: Conv2d) -> _Kernel:
    area = size(layer.kernel)
    first, last = block.start // area, -(-block.stop // area)
    here = slice(block.start - first * area, block.stop - first * area)
    rows = weight.new_zeros(weight.shape[0] + 1, (last - first) * area)
    rows[:-1, here], rows[-1, here] = weight[:, block], 1.0
    return _Kernel(slice(first, last), rows.view(-1, last - first, *layer.kernel))
