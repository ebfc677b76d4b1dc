"""The multiply: rows times weights on tiles, read noise, and the converters below each tile.

A column sum is the same whatever the order of its terms, on one thread or two. For spikes that is
so by construction: weights are multiples of 2^-10 code, and single precision adds them up exactly.
With analog codes, for which weights are multiples of 2^-5 code, it is so as long as no sum can grow
out of 24 bits. If one could, and might tip a converter, it is added again in double precision.

A few samples at a time are multiplied with one row of tiles, and their sums are converted piece by
piece, in memory that is taken once: every piece stays in the cache from its noise to its codes.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from chip_sim.converter import Transfer, level_max
from chip_sim.exact_rounding import SumNoise, TileRow, may_round, round_again_
from chip_sim.gaussian_table import GaussianTable, cut
from chip_sim.row_values import positions, rows_of
from chip_sim.spec import groups_of
from ltl_core.network.stages import Stage

_COARSE_BITS = 8  # of converters whose codes single precision resolves to better than _DOUBT
_ALL = slice(None)

Watch = Callable[[int, Tensor], None]  # is given the number of a row of tiles, and its codes


class TileArray(NamedTuple):
    """A layer's tiles, ready to be read."""

    weight: Float[Tensor, "column row"]  # multiples of 2^-10 code, or of 2^-5 for analog codes
    row_blocks: tuple[slice, ...]  # the rows of each row of tiles
    transfers: tuple[Transfer, ...]  # of the converters, one for each row of tiles
    bits: int  # of the converters
    read_noise: float  # standard deviation of one weight in one multiply, code units
    norms: tuple[float, ...] = ()  # largest of a column, for each row of tiles; empty if unknown
    # What a code of each row of tiles is worth, in codes of the first; empty if all are alike.
    units: tuple[float, ...] = ()
    lsb: float = 1.0  # column sum that one code of the first row of tiles stands for


class RowInput(NamedTuple):
    """What is played into the rows."""

    values: Float[Tensor, "batch *input"]  # whole DAC codes, or spikes averaged over pools
    times: int  # how often the same values are read
    analog: bool  # whether the values are DAC codes
    binary: bool = False  # whether every value is known to be 0 or 1


class ClipMeter:
    """Counts conversions, and those that answered with the largest or the smallest code."""

    def __init__(self, code_max: int, tiles: int) -> None:
        self._code_max = code_max
        self._seen, self._clipped = [0] * tiles, [0] * tiles

    def watch(self, tile: int, codes: Tensor) -> None:
        """Count these codes of one row of tiles."""
        self._seen[tile] += codes.numel()
        self._clipped[tile] += int((codes.abs() >= self._code_max).sum())

    @property
    def fractions(self) -> Float[Tensor, " tile"]:
        """Fraction of the conversions of each row of tiles so far that were clipped."""
        return torch.tensor(self._clipped) / torch.tensor(self._seen).clamp(min=1)


def column_norms(
    weight: Float[Tensor, "column row"], row_blocks: tuple[slice, ...]
) -> tuple[float, ...]:
    """Return the largest Euclidean norm of a column, for each row of tiles."""
    return tuple(float(weight[:, block].square().sum(1).max().sqrt()) for block in row_blocks)


def read_noise_spread(
    rows: Float[Tensor, "*group row point"], sigma: float, *, binary: bool = False
) -> Float[Tensor, "*group point"]:
    """Return the standard deviation of a column sum if every weight is read with N(0, sigma^2).

    It is sqrt(sum_j sigma^2 x_j^2), in code units; all cells have the same sigma, so that it is
    the same for all columns. Values that are 0 or 1 are their own squares.
    """
    # Several times as fast as linalg.vector_norm, where a point's rows lie far apart in memory.
    squares: Tensor = (rows if binary else rows.square()).sum(-2)
    return squares.sqrt_().to(torch.float32).mul_(sigma)


def read_columns(
    array: TileArray,
    rows_in: RowInput,
    stage: Stage,
    rng: torch.Generator,
    watch: Watch | None = None,
) -> Float[Tensor, "times batch column *position"]:
    """Return what the ADC codes of every column stand for, added up over the rows of tiles.

    They are added in the order of the rows of tiles, in codes of the first one, each of which
    stands for `array.lsb`. The codes of each row of tiles are given to `watch`.
    """
    exact = rows_in.analog and array.bits > _COARSE_BITS
    if exact:
        rows_in = rows_in._replace(values=rows_in.values.to(torch.float64))
        array = array._replace(weight=array.weight.to(torch.float64))
    where, times = positions(stage), rows_in.times
    sums = torch.empty(times, len(rows_in.values), stage.columns, *where)
    gaussian = GaussianTable(rng) if array.read_noise else None
    reader = _Reader(array, rows_in, groups_of(stage), gaussian, watch)
    for rows in rows_of(rows_in.values, stage, times):
        here = sums[:, rows.samples]
        if where:
            codes = reader.read(rows.values)
            torch.mul(codes.unflatten(2, (-1, *where)).transpose(1, 2), array.lsb, out=here)
        else:  # a point is a sample: nothing needs to be moved
            reader.read(rows.values, here.mT).mul_(array.lsb)
    return sums


class _Piece(NamedTuple):
    """A part of the sums of one row of tiles that lies in one piece in memory."""

    where: tuple[slice, slice, slice]  # times, columns, points
    sums: Float[Tensor, "_column _point"]
    scratch: Float[Tensor, "_time _column _point"]


class _Room:
    """Memory for one row of tiles, taken once for all samples of a run.

    Transposed, it lies point by point, as the product of a linear layer does.
    """

    def __init__(self, shape: tuple[int, int, int], *, transposed: bool, by_times: bool) -> None:
        """`shape` is the number of times, columns and points; pieces are cut along times or not."""
        self.shape, self.transposed = shape, transposed
        self.total = self._in_order(torch.empty(shape).view(-1), shape)
        self.sums = self._in_order(torch.empty(shape[1:]).view(-1), (1, *shape[1:]))[0]
        cuts = self._cut(by_times=by_times)
        scratch = torch.empty(self.total[cuts[0]].numel())  # the first piece is the largest
        self.pieces = [self._piece(where, scratch) for where in cuts]

    def multiply(
        self, weight: Float[Tensor, "group column row"], values: Float[Tensor, "group row point"]
    ) -> None:
        """Compute the sums, in the order of operands that reads the values along memory."""
        if values.dtype is torch.float64:
            self.sums.copy_((weight @ values).flatten(0, 1))
        elif self.transposed:
            torch.mm(values[0].T, weight[0].T, out=self.sums.mT)
        elif len(weight) == 1:
            torch.mm(weight[0], values[0], out=self.sums)
        else:
            torch.bmm(weight, values, out=self.sums.unflatten(0, (len(weight), -1)))

    def numbers(self, piece: _Piece, gaussian: GaussianTable) -> Float[Tensor, "_t _column _point"]:
        """Draw a number for each sum of a piece, in the order of memory."""
        return self._in_order(gaussian.take(piece.scratch.numel()), tuple(piece.scratch.shape))

    def _cut(self, *, by_times: bool) -> list[tuple[slice, slice, slice]]:
        times, columns, points = self.shape
        if by_times:
            return [(part, _ALL, _ALL) for part in cut(times, columns * points)]
        if self.transposed:
            return [(_ALL, _ALL, part) for part in cut(points, times * columns)]
        return [(_ALL, part, _ALL) for part in cut(columns, times * points)]

    def _piece(self, where: tuple[slice, slice, slice], scratch: Float[Tensor, " _n"]) -> _Piece:
        here = self.total[where]
        memory = self._in_order(scratch[: here.numel()], tuple(here.shape))
        return _Piece(where, self.sums[where[1:]], memory)

    def _in_order(
        self, numbers: Float[Tensor, " _count"], shape: tuple[int, ...]
    ) -> Float[Tensor, "_time _column _point"]:
        times, columns, points = shape
        if self.transposed:
            return numbers.view(times, points, columns).mT
        return numbers.view(times, columns, points)


class _Reader:
    """Reads the tiles of a layer for a few samples at a time."""

    def __init__(
        self,
        array: TileArray,
        rows_in: RowInput,
        groups: int,
        gaussian: GaussianTable | None,
        watch: Watch | None,
    ) -> None:
        """Begin to read with these numbers for the read noise; None reads without noise."""
        self._array, self._rows_in, self._groups = array, rows_in, groups
        self._weight = array.weight.unflatten(0, (groups, -1))
        self._gaussian, self._watch = gaussian, watch
        self._may_tip = rows_in.analog and array.weight.dtype is torch.float32
        self._room: _Room | None = None

    def read(
        self,
        rows: Float[Tensor, "row point"],
        total: Float[Tensor, "times column point"] | None = None,
    ) -> Float[Tensor, "times column point"]:
        """Add up the codes of all rows of tiles, in `total` if it is given."""
        room = self._room_for(rows)
        total = room.total if total is None else total
        for number in range(len(self._array.row_blocks)):
            tiles = self._tiles(number, rows)
            room.multiply(tiles.weight, tiles.values)
            for piece in room.pieces:
                here = total[piece.where]
                codes = self._convert(tiles, piece, room, piece.scratch if number else here)
                self._weigh(number, codes)
                if number:
                    here.add_(codes)
        return total

    def _convert(
        self, tiles: TileRow, piece: _Piece, room: _Room, codes: Float[Tensor, "time column point"]
    ) -> Float[Tensor, "time column point"]:
        """Write what the converters answer to the sums of a piece over `codes`."""
        _, columns, points = piece.where
        levels, noise = piece.sums[None], None
        if self._gaussian is not None and tiles.spread is not None:
            noise = SumNoise(room.numbers(piece, self._gaussian), tiles.spread[columns, points])
            levels = torch.empty_like(piece.scratch) if tiles.doubtful else codes
            torch.addcmul(piece.sums, *noise, out=levels)
        transfer = tiles.transfer if columns is _ALL else tiles.transfer.of(columns)
        torch.round(transfer.levels_(levels), out=codes)
        if tiles.doubtful:
            round_again_(codes, levels, tiles, noise)
        top = level_max(self._array.bits)
        return codes.clamp_(-top, top)

    def _weigh(self, number: int, codes: Tensor) -> None:
        """Show codes to who watches, and turn them into codes of the first row of tiles."""
        if self._watch is not None:
            self._watch(number, codes)
        if self._array.units:  # rounded before it is added, so that no order of threads is seen
            codes.mul_(self._array.units[number])

    def _tiles(self, number: int, rows: Float[Tensor, "row point"]) -> TileRow:
        array, block = self._array, self._array.row_blocks[number]
        values = rows.unflatten(0, (self._groups, -1))[:, block]
        norm = array.norms[number] if array.norms else None
        return TileRow(
            self._weight[:, :, block],
            values,
            array.transfers[number],
            None if self._gaussian is None else self._spread(values),
            self._may_tip and may_round(norm, values),
        )

    def _spread(self, values: Float[Tensor, "group row point"]) -> Float[Tensor, "column point"]:
        """Return the standard deviation of the sums of all columns, code units."""
        sigma, binary = self._array.read_noise, self._rows_in.binary
        spread = read_noise_spread(values, sigma, binary=binary)[:, None]
        each = spread.expand(-1, self._weight.shape[1], -1)
        return each[0] if self._groups == 1 else each.flatten(0, 1)

    def _room_for(self, rows: Float[Tensor, "row point"]) -> _Room:
        times, columns = self._rows_in.times, len(self._array.weight)
        shape = (times, columns, rows.shape[1])
        if self._room is None or self._room.shape != shape:
            self._room = _Room(
                shape,
                transposed=self._groups == 1 and rows.stride(0) == 1,
                by_times=self._rows_in.analog or times > 1,
            )
        return self._room
