"""The multiply: rows times weights on tiles, read noise, and the converters below each tile.

A column sum is the same whatever the order of its terms, on one thread or two. For spikes that is
so by construction: weights are multiples of 2^-10 code, and single precision adds them up exactly.
With analog codes, for which weights are multiples of 2^-5 code, it is so as long as no sum can grow
out of 24 bits. If one could, and might tip a converter, it is added again in double precision.

A few samples at a time are multiplied with one row of tiles, and their sums are converted piece by
piece, in memory that is taken once: every piece stays in the cache from its noise to its codes.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from chip_sim.converter import Transfer, level_max
from chip_sim.exact_rounding import SumNoise, TileRow, may_round, round_again_
from chip_sim.gaussian_table import GaussianTable, cut, draws_alike
from chip_sim.products import MatrixPart, Part, RowInput, parts
from chip_sim.row_values import positions
from chip_sim.second_thread import SecondThread
from ltl_core.network.stages import Stage

_COARSE_BITS = 8  # of converters whose codes single precision resolves to better than _DOUBT
_ALL = slice(None)

Watch = Callable[[int, Tensor], None]  # is given the number of a row of tiles, and its codes


class TileArray(NamedTuple):
    """A layer's tiles, ready to be read."""

    weight: Float[Tensor, "column row"]  # multiples of 2^-10 code, or of 2^-5 for analog codes
    row_blocks: tuple[slice, ...]  # the rows of each row of tiles
    transfer: Transfer  # of the converters, one for each row of tiles and column
    bits: int  # of the converters
    read_noise: float  # standard deviation of one weight in one multiply, code units
    norms: tuple[float, ...] = ()  # largest of a column, for each row of tiles; empty if unknown
    # What a code of each row of tiles is worth, in codes of the first; empty if all are alike.
    units: tuple[float, ...] = ()
    lsb: float = 1.0  # column sum that one code of the first row of tiles stands for


class ClipMeter:
    """Counts conversions, and those that answered with the largest or the smallest code."""

    def __init__(self, code_max: int, tiles: int) -> None:
        self._code_max = code_max
        self._seen, self._clipped = [0] * tiles, [0] * tiles

    def watch(self, tile: int, codes: Tensor) -> None:
        """Count these codes of one row of tiles."""
        self._seen[tile] += codes.numel()
        # NumPy is several times as fast as torch here.
        self._clipped[tile] += int(np.count_nonzero(np.abs(codes.numpy()) >= self._code_max))

    @property
    def fractions(self) -> Float[Tensor, " tile"]:
        """Fraction of the conversions of each row of tiles so far that were clipped."""
        return torch.tensor(self._clipped) / torch.tensor(self._seen).clamp(min=1)


def column_norms(
    weight: Float[Tensor, "column row"], row_blocks: tuple[slice, ...]
) -> tuple[float, ...]:
    """Return the largest Euclidean norm of a column, for each row of tiles."""
    return tuple(float(weight[:, block].square().sum(1).max().sqrt()) for block in row_blocks)


def read_noise_spread(squares: Float[Tensor, "*shape"], sigma: float) -> Float[Tensor, "*shape"]:
    """Return the standard deviation of a column sum if every weight is read with N(0, sigma^2).

    It is sqrt(sum_j sigma^2 x_j^2), in code units, of the `squares` sum_j x_j^2. All cells have the
    same sigma, so that it is the same for all columns.
    """
    return squares.sqrt().to(torch.float32).mul_(sigma)


def read_columns(
    array: TileArray,
    rows_in: RowInput,
    stage: Stage,
    rng: torch.Generator,
    watch: Watch | None = None,
    second: SecondThread | None = None,
) -> Float[Tensor, "times batch column *position"]:
    """Return what the ADC codes of every column stand for, added up over the rows of tiles.

    They are added in the order of the rows of tiles, in codes of the first one, each of which
    stands for `array.lsb`. The codes of each row of tiles are given to `watch`. The `second` thread
    draws noise ahead.
    """
    is_double = rows_in.values.dtype is torch.float64
    exact = is_double or (rows_in.analog and array.bits > _COARSE_BITS)
    if exact:
        rows_in = rows_in._replace(values=rows_in.values.to(torch.float64))
        array = array._replace(weight=array.weight.to(torch.float64))
    where, shape = positions(stage), (rows_in.times, rows_in.values.shape[0])
    sums = torch.empty(*shape, stage.columns, *where)
    count = sums.numel() * len(array.row_blocks)
    gaussian = GaussianTable(rng, count, second) if array.read_noise else None
    reader = _Reader(array, rows_in, gaussian, watch)
    for part in parts(array.weight, array.row_blocks, rows_in, stage):
        here = sums[:, part.samples]
        if where:
            codes = reader.read(part)
            torch.mul(codes.unflatten(2, (-1, *where)).transpose(1, 2), array.lsb, out=here)
        else:  # a point is a sample: nothing needs to be moved
            reader.read(part, here.mT).mul_(array.lsb)
    return sums


class _Piece(NamedTuple):
    """Sums that lie in one piece in memory: of one row of tiles, or of several."""

    where: tuple[slice, slice, slice]  # times, columns, points
    sums: Float[Tensor, "_tile _column _point"]
    scratch: Float[Tensor, "_time _column _point"]  # or a tile in the place of each time


class _Buffers:
    """Memory for the sums of a few samples, taken once for all parts of the same size.

    Small sums of several rows of tiles are converted together, large ones piece by piece. The
    numbers of the noise are drawn in the order of memory: row of tiles by row of tiles, then time
    by time, then point by point or column by column.
    """

    def __init__(
        self, shape: tuple[int, int, int], tiles: int, *, by_point: bool, by_time: bool
    ) -> None:
        """`shape` is the number of times, columns and points, `tiles` of rows of tiles at once."""
        self.shape, self._by_point = shape, by_point
        times, columns, points = shape
        self.total = self._in_order(torch.empty(times * columns * points), shape)
        self.sums = self._in_order(torch.empty(tiles * columns * points), (tiles, *shape[1:]))
        self._scratch = torch.empty(max(times, tiles) * columns * points)
        self._pieces = [self._piece(where, 1) for where in self._cut(by_time=by_time)]

    def pieces(self, tiles: int) -> list[_Piece]:
        """Return the pieces of so many rows of tiles."""
        return self._pieces if tiles == 1 else [self._piece((_ALL, _ALL, _ALL), tiles)]

    def numbers(self, piece: _Piece, gaussian: GaussianTable) -> Float[Tensor, "_t _column _point"]:
        """Draw a number for each sum of a piece."""
        shape = piece.scratch.shape
        return self._in_order(gaussian.take(shape.numel()), shape)

    def _cut(self, *, by_time: bool) -> list[tuple[slice, slice, slice]]:
        times, columns, points = self.shape
        if by_time:
            return [(part, _ALL, _ALL) for part in cut(times, columns * points)]
        if self._by_point:
            return [(_ALL, _ALL, part) for part in cut(points, columns)]
        return [(_ALL, part, _ALL) for part in cut(columns, points)]

    def _piece(self, where: tuple[slice, slice, slice], tiles: int) -> _Piece:
        times, columns, points = self.total[where].shape
        shape = (times if tiles == 1 else tiles, columns, points)
        scratch = self._in_order(self._scratch[: math.prod(shape)], shape)
        return _Piece(where, self.sums[:tiles, where[1], where[2]], scratch)

    def _in_order(
        self, numbers: Float[Tensor, " _count"], shape: Sequence[int]
    ) -> Float[Tensor, "_time _column _point"]:
        lead, columns, points = shape
        if self._by_point:
            return numbers.view(lead, points, columns).mT
        return numbers.view(lead, columns, points)


class _Tiles(NamedTuple):
    """What it takes to convert the sums of rows of tiles that are converted together."""

    transfer: Transfer
    spread: Float[Tensor, "tile column point"] | None  # of the read noise, code units
    exact: TileRow | None  # where sums may have been rounded: what they are added up of


class _Reader:
    """Reads the tiles of a layer for a few samples at a time."""

    def __init__(
        self,
        array: TileArray,
        rows_in: RowInput,
        gaussian: GaussianTable | None,
        watch: Watch | None,
    ) -> None:
        """Begin to read with these numbers for the read noise; None reads without noise."""
        self._array, self._rows_in, self._gaussian, self._watch = array, rows_in, gaussian, watch
        self._buffers: _Buffers | None = None
        self._together: list[range] = []

    def read(
        self, part: Part, total: Float[Tensor, "times column point"] | None = None
    ) -> Float[Tensor, "times column point"]:
        """Add up the codes of all rows of tiles, in `total` if it is given."""
        buffers = self._buffers_for(part)
        total = buffers.total if total is None else total
        for numbers in self._together:
            tiles = self._multiply(part, numbers, buffers)
            for piece in buffers.pieces(len(numbers)):
                here = total[piece.where]
                codes = here if numbers == range(1) else piece.scratch
                self._convert(tiles, piece, buffers, codes)
                self._add(numbers, codes, here)
        return total

    def _multiply(self, part: Part, numbers: range, buffers: _Buffers) -> _Tiles:
        """Compute the sums of some rows of tiles, and find out what their conversion needs."""
        part.multiply(numbers, buffers.sums[: len(numbers)])
        transfer = self._array.transfer.tiles(slice(numbers[0], numbers[-1] + 1))
        spread = exact = None
        if self._gaussian is not None or self._rows_in.analog:
            squares = part.squares(numbers)
            spread = self._spread(squares)
            exact = self._doubtful(part, numbers[0], squares[0]) if self._rows_in.analog else None
        return _Tiles(transfer, spread, exact)

    def _doubtful(
        self, part: Part, number: int, squares: Float[Tensor, "group point"]
    ) -> TileRow | None:
        """Return what the sums are added up of, if single precision may have rounded one."""
        norms = self._array.norms
        if not isinstance(part, MatrixPart) or part.values.dtype is torch.float64:
            return None
        if not may_round(norms[number] if norms else None, squares):
            return None
        block = part.blocks[number]
        return TileRow(
            part.weight[:, :, block], part.values[:, block], self._array.transfer.tiles(number)
        )

    def _spread(
        self, squares: Float[Tensor, "tile group point"]
    ) -> Float[Tensor, "tile column point"]:
        """Return the standard deviation of the sums of all columns, code units."""
        spread = read_noise_spread(squares, self._array.read_noise)[:, :, None]
        columns = self._array.weight.shape[0] // squares.shape[1]
        each = spread.expand(-1, -1, columns, -1)
        return each[:, 0] if squares.shape[1] == 1 else each.flatten(1, 2)

    def _buffers_for(self, part: Part) -> _Buffers:
        times, columns, points = shape = (
            self._rows_in.times,
            self._array.weight.shape[0],
            part.points,
        )
        if self._buffers is None or self._buffers.shape != shape:
            by_time = self._rows_in.analog or times > 1
            self._together = self._cut(columns * points, by_time=by_time)
            tiles = len(self._together[0])
            self._buffers = _Buffers(shape, tiles, by_point=part.by_point, by_time=by_time)
        return self._buffers

    def _cut(self, sums: int, *, by_time: bool) -> list[range]:
        """Return which rows of tiles, of so many sums each, are converted together."""
        tiles = range(len(self._array.row_blocks))
        if by_time or not draws_alike(sums):
            return [tiles[number : number + 1] for number in tiles]
        return [tiles[part] for part in cut(len(tiles), sums)]

    def _convert(self, tiles: _Tiles, piece: _Piece, buffers: _Buffers, codes: Tensor) -> None:
        """Write what the converters answer to the sums of a piece over `codes`."""
        _, columns, points = piece.where
        levels, noise = piece.sums, None
        if self._gaussian is not None and tiles.spread is not None:
            spread = tiles.spread[:, columns, points]
            noise = SumNoise(buffers.numbers(piece, self._gaussian), spread[0])
            levels = codes if tiles.exact is None else torch.empty_like(piece.scratch)
            torch.addcmul(piece.sums, noise.numbers, spread, out=levels)
        transfer = tiles.transfer if columns == _ALL else tiles.transfer.columns(columns)
        torch.round(transfer.levels_(levels), out=codes)
        if tiles.exact is not None:
            round_again_(codes, levels, tiles.exact, noise)
        top = level_max(self._array.bits)
        codes.clamp_(-top, top)

    def _add(self, numbers: range, codes: Tensor, total: Tensor) -> None:
        """Add codes to those of the rows of tiles before, in codes of the first row of tiles."""
        for number, mine in zip(numbers, codes.split(codes.shape[0] // len(numbers)), strict=True):
            if self._watch is not None:
                self._watch(number, mine)
            if self._array.units:  # rounded before it is added, so that no order can be seen
                mine.mul_(self._array.units[number])
            if number:
                total.add_(mine)
            elif len(numbers) > 1:
                total.copy_(mine)
