"""Picture of the weights of one tile, as a job kept it: a square for each block of cells."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, NamedTuple

from service.formatting import percent

_LEVELS = 5
_USUAL = 0.97  # part of the blocks that the levels below the last tell apart
_MOST = 320  # px, the longer side of the picture
_ROUND = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000, 50_000)
_SENTENCES = {
    "error": "How far the true weights are from their codes",
    "moved": "How far calibration moved the codes from the golden student's",
}


class Level(NamedTuple):
    """The blocks of the picture whose values lie in one range."""

    number: int  # 0 is the least
    text: str  # the range, in codes
    path: str  # its blocks: a line through the middle of each run of them
    share: str  # of all blocks


class LayerFigure(NamedTuple):
    """The root mean square of one layer, in codes."""

    layer: str
    text: str


class WeightPicture(NamedTuple):
    """The picture of one tile, and the figures of all layers."""

    sentence: str  # what is shown
    shows_error: bool  # else how far codes were moved
    place: str  # which part of which layer
    block: str  # what a block is
    width: int
    height: int
    cell: float  # px, the height of a block
    levels: tuple[Level, ...]
    layers: tuple[LayerFigure, ...]
    chip_time_s: float
    pulses_most: int | None  # of the devices of the network; None where they are not known
    pulses_mean: float | None


def draw_weights(shown: Mapping[str, Any]) -> WeightPicture:
    """Lay out a map of `WeightMap.to_json`.

    Raises KeyError, TypeError or ValueError where it does not hold what a map has.
    """
    tile = shown["tile"]
    bins: Sequence[Sequence[int]] = tile["bins"]
    # Columns of the chip stand side by side: a line of the picture is a row of the tile.
    lines = [list(line) for line in zip(*bins, strict=True)]
    side = max(len(lines), len(lines[0]))
    cell = max(4, min(16, _MOST // side))
    step = _step(sorted(value for line in lines for value in line))
    pulses = shown.get("pulses") or {}
    return WeightPicture(
        sentence=_SENTENCES[shown["shows"]],
        shows_error=shown["shows"] == "error",
        place=_place(tile),
        block=_block(tile),
        width=cell * len(lines[0]),
        height=cell * len(lines),
        cell=cell,
        levels=_levels(lines, step, cell),
        layers=tuple(
            LayerFigure(str(name), f"{float(rms):.2f}") for name, rms in shown["layers"].items()
        ),
        chip_time_s=float(shown["chip_time_s"]),
        pulses_most=pulses.get("most"),
        pulses_mean=pulses.get("mean"),
    )


def _step(values: Sequence[int]) -> int:
    """Return the width of a level, in hundredths of a code: a round figure.

    All but the highest of `values`, which rise, are below the last level: a stuck cell does not
    make all others look alike.
    """
    usual = values[int(_USUAL * (len(values) - 1))]
    return next((step for step in _ROUND if step * (_LEVELS - 1) > usual), _ROUND[-1])


def _levels(lines: list[list[int]], step: int, cell: int) -> tuple[Level, ...]:
    numbered = [[min(value // step, _LEVELS - 1) for value in line] for line in lines]
    paths: dict[int, list[str]] = {number: [] for number in range(_LEVELS)}
    for number, path in _runs(numbered, cell):
        paths[number].append(path)
    count = sum(len(line) for line in lines)
    within = [sum(line.count(number) for line in numbered) for number in range(_LEVELS)]
    return tuple(
        Level(
            number,
            _range(number, step),
            "".join(paths[number]),
            percent(within[number] / count),
        )
        for number in range(_LEVELS)
    )


def _range(number: int, step: int) -> str:
    low, high = number * step / 100, (number + 1) * step / 100
    return f"{low:g} codes or more" if number == _LEVELS - 1 else f"{low:g} to {high:g} codes"


def _runs(numbered: list[list[int]], cell: int) -> Iterator[tuple[int, str]]:
    for place, line in enumerate(numbered):
        y, x = cell * place + cell / 2, 0
        for number, blocks in groupby(line):
            width = cell * len(list(blocks))
            yield number, f"M{x} {y:g}h{width}"
            x += width


def _place(tile: Mapping[str, Any]) -> str:
    columns = f"{tile['first_column']} to {tile['first_column'] + tile['columns'] - 1}"
    rows = f"{tile['first_row']} to {tile['first_row'] + tile['rows'] - 1}"
    return f"{tile['layer']}, columns {columns}, rows {rows}"


def _block(tile: Mapping[str, Any]) -> str:
    columns, rows = int(tile["bin_columns"]), int(tile["bin_rows"])
    if columns == rows == 1:
        return "A square is a cell."
    return f"A square is the root mean square of {columns} by {rows} cells (columns by rows)."
