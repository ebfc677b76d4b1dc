"""A small picture of how far the weights on a chip are from others: of one tile, and by layer."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Real
from torch import Tensor

from ltl_core.chip import ChipInfo, LayerCodes

BINS = 32  # of a side of the picture, at most


class TileMap(NamedTuple):
    """Differences of the weights on one tile; a bin holds the root mean square of its cells."""

    layer: str
    first_column: int
    columns: int
    first_row: int
    rows: int
    bin_columns: int  # of cells in a bin; those at the far ends may be narrower
    bin_rows: int
    bins: Float[Tensor, "bin_column bin_row"]  # code units


class WeightMap(NamedTuple):
    """The tile whose weights differ most, and all layers, in code units."""

    tile: TileMap
    layers: dict[str, float]  # root mean square over the cells of each layer

    def to_json(self) -> dict[str, Any]:
        """Return the map as JSON data; differences are in hundredths of a code."""
        hundredths = (100 * self.tile.bins).round().to(torch.int64).tolist()
        tile = self.tile._asdict() | {"bins": hundredths}
        return {"tile": tile, "layers": {name: round(rms, 3) for name, rms in self.layers.items()}}


def weight_differences(
    weights: Mapping[str, Real[Tensor, "column row"]], codes: Mapping[str, LayerCodes]
) -> dict[str, Float[Tensor, "column row"]]:
    """Return how far weights are from those of the codes, layer by layer, code units."""
    return {name: weight.float() - codes[name].weight for name, weight in weights.items()}


def weight_map(differences: Mapping[str, Float[Tensor, "column row"]], info: ChipInfo) -> WeightMap:
    """Return the map of differences of weights, code units, layer by layer.

    A tile is a block of `tile_columns` by `tile_rows` cells, cut from the first cell of a layer on.
    Raises ValueError if there is no layer.
    """
    tiles = [
        (layer, *place)
        for layer, whole in differences.items()
        for place in _places(whole.shape, info)
    ]
    if not tiles:
        raise ValueError("There is no layer whose weights could differ.")
    layer, columns, rows = max(tiles, key=lambda tile: _rms(differences[tile[0]][tile[1:]]))
    found = differences[layer][columns, rows]
    bin_columns, bin_rows = (-(-side // BINS) for side in found.shape)
    tile = TileMap(
        layer=layer,
        first_column=columns.start,
        columns=found.shape[0],
        first_row=rows.start,
        rows=found.shape[1],
        bin_columns=bin_columns,
        bin_rows=bin_rows,
        bins=_binned(found, (bin_columns, bin_rows)),
    )
    return WeightMap(tile, {name: _rms(whole) for name, whole in differences.items()})


def _places(shape: torch.Size, info: ChipInfo) -> list[tuple[slice, slice]]:
    columns, rows = shape
    return [
        (
            slice(column, min(column + info.tile_columns, columns)),
            slice(row, min(row + info.tile_rows, rows)),
        )
        for row in range(0, rows, info.tile_rows)
        for column in range(0, columns, info.tile_columns)
    ]


def _rms(values: Tensor) -> float:
    return float(values.to(torch.float64).square().mean().sqrt())


def _binned(
    values: Float[Tensor, "column row"], size: tuple[int, int]
) -> Float[Tensor, "bin_column bin_row"]:
    """Return the root mean square of blocks of cells of this size."""
    squared = values.to(torch.float32).square()[None]
    return F.avg_pool2d(squared, size, ceil_mode=True)[0].sqrt()
