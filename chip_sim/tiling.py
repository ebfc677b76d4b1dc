"""A matrix on tiles of fixed size. Every layer, and every group of one, begins on a fresh tile."""

from typing import NamedTuple

from chip_sim.spec import ChipSpec, groups_of, tiles_of
from ltl_core.network.spec import NetworkSpec
from ltl_core.network.stages import Stage


class Region(NamedTuple):
    """The part of a layer's matrix that stands in the corner of one tile."""

    tile: int
    columns: slice
    rows: slice


class Tiling(NamedTuple):
    """Where one layer stands."""

    regions: tuple[Region, ...]  # row of tiles by row of tiles
    row_blocks: tuple[slice, ...]
    column_blocks: tuple[slice, ...]


def lay_out(network: NetworkSpec, spec: ChipSpec) -> dict[str, Tiling]:
    """Tiles of every layer, in the network's order, starting at the chip's first."""
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
