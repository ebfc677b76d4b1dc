"""Cuts matrices into tiles of fixed size; every layer, and every group, begins on a new tile."""

from typing import NamedTuple

from chip_sim.spec import ChipSpec, groups_of, tiles_of
from ltl_core.network.spec import NetworkSpec
from ltl_core.network.stages import Stage


class Region(NamedTuple):
    """The block of a layer's matrix that is on one tile, from its first row and column on."""

    tile: int
    columns: slice
    rows: slice


class Tiling(NamedTuple):
    """The tiles of one layer."""

    regions: tuple[Region, ...]  # row of tiles by row of tiles
    row_blocks: tuple[slice, ...]
    column_blocks: tuple[slice, ...]


def lay_out(network: NetworkSpec, spec: ChipSpec) -> dict[str, Tiling]:
    """Return the tiles of every layer, in the order of the network, from the chip's first on."""
    tilings: dict[str, Tiling] = {}
    first = 0
    for stage in network.stages:
        tilings[stage.name] = tile_stage(stage, spec, first)
        first += tiles_of(stage, spec)
    return tilings


def tile_stage(stage: Stage, spec: ChipSpec, first: int) -> Tiling:
    """Cut [column, row] into tiles, numbered from `first`."""
    groups = groups_of(stage)
    width = stage.columns // groups
    rows = _cut(stage.rows, spec.tile_rows)
    columns = tuple(
        slice(group * width + block.start, group * width + block.stop)
        for group in range(groups)
        for block in _cut(width, spec.tile_columns)
    )
    places = [(column, row) for row in rows for column in columns]
    regions = tuple(Region(first + n, *place) for n, place in enumerate(places))
    return Tiling(regions, rows, columns)


def _cut(length: int, block: int) -> tuple[slice, ...]:
    return tuple(slice(at, min(at + block, length)) for at in range(0, length, block))
