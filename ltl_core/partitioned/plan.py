"""Which part of a network stands on the chip in which pass. Readable without torch.

Consecutive layers share a pass as far as the chip has tiles for them. A layer that is larger than
the chip is cut into parts of its columns. In front of the readout, a pass needs a tile more or two:
a network ends in a readout, so that a pass without the network's own gets one of zeros that nobody
reads (`OBSERVER`).
"""

import math
from typing import NamedTuple

from ltl_core.chip import ChipInfo, Observable
from ltl_core.errors import CapacityError, TooManyPassesError, UnsupportedLayerError
from ltl_core.network.layers import Conv2d, GlobalAvgPool, Layer, Linear
from ltl_core.network.spec import NetworkSpec
from ltl_core.network.stages import Stage

OBSERVER = "_observer"


class Part(NamedTuple):
    """Some columns of a layer: all of them, unless it is larger than the chip."""

    stage: Stage
    first: int
    end: int  # column after the last

    @property
    def cells(self) -> int:
        """Number of cells: columns times rows."""
        return (self.end - self.first) * self.stage.rows


class Pass(NamedTuple):
    """What stands on the chip at one time: consecutive layers, or a part of one."""

    parts: tuple[Part, ...]

    @property
    def cells(self) -> int:
        """Number of cells of all its parts, which a pass may write."""
        return sum(part.cells for part in self.parts)


def plan_passes(network: NetworkSpec, info: ChipInfo) -> tuple[Pass, ...]:
    """Return the passes in the order in which they are made; one if the chip holds the network.

    Raises UnsupportedLayerError for an addition, for a layer in groups that would have to be cut
    and for a chip that cannot record spikes, and CapacityError if one column is too large.
    """
    stages = network.stages
    whole = sum(_tiles(stage, stage.columns, info) for stage in stages)
    if whole <= info.tiles:
        return (Pass(tuple(map(_whole, stages))),)
    check_additions(network)
    _check_spikes(stages[0], info)
    passes: list[Pass] = []
    together: list[Stage] = []
    for stage in stages:
        if _fits([*together, stage], info):
            together.append(stage)
            continue
        if together:
            passes.append(Pass(tuple(map(_whole, together))))
        together = [stage] if _fits([stage], info) else []
        if not together:
            passes += [Pass((part,)) for part in _cut(stage, info)]
    if together:
        passes.append(Pass(tuple(map(_whole, together))))
    return tuple(passes)


def check_passes(network: NetworkSpec, info: ChipInfo, allowed: int) -> int:
    """Return the number of passes.

    Raises TooManyPassesError if there are more than allowed, and what `plan_passes` raises.
    """
    passes = plan_passes(network, info)
    if len(passes) > allowed:
        needed = sum(_tiles(stage, stage.columns, info) for stage in network.stages)
        cells = sum(made.cells for made in passes)
        raise TooManyPassesError(needed, info.tiles, len(passes), cells)
    return len(passes)


def info_in_passes(info: ChipInfo) -> ChipInfo:
    """Return the description of a chip without what belongs to one part of a network."""
    return info._replace(tuning=None, side_rank=0)


def check_additions(network: NetworkSpec) -> None:
    """Raise UnsupportedLayerError for an addition: a part holds layers that follow one another."""
    for stage in network.stages:
        if len(stage.branches) > 1:
            advice = "a network that is placed in parts has no additions"
            raise UnsupportedLayerError(stage.name, "add", advice)


def network_of(made: Pass) -> NetworkSpec:
    """Return the network that is placed for a pass: its layers, and an observer if need be."""
    layers: list[Layer] = []
    for part in made.parts:
        layers += [pool.model_copy(update={"inputs": ()}) for pool in part.stage.pools]
        layers.append(_cut_layer(part))
    if not made.parts[-1].stage.is_readout:
        layers += _observer(made.parts[-1])
    return NetworkSpec(input_shape=made.parts[0].stage.source_shape, layers=tuple(layers))


def _whole(stage: Stage) -> Part:
    return Part(stage, 0, stage.columns)


def _check_spikes(first: Stage, info: ChipInfo) -> None:
    if Observable.SPIKES not in info.observables:
        advice = "the chip cannot record the spikes that drive the next part"
        raise UnsupportedLayerError(first.name, first.layer.kind, advice)


def _fits(stages: list[Stage], info: ChipInfo) -> bool:
    needed = sum(_tiles(stage, stage.columns, info) for stage in stages)
    return needed + _observer_tiles(stages[-1], stages[-1].columns, info) <= info.tiles


def _cut(stage: Stage, info: ChipInfo) -> list[Part]:
    """Cut a layer into parts of as many columns as the chip holds."""
    if _groups(stage) > 1:
        advice = "a layer in groups that is larger than the chip cannot be cut"
        raise UnsupportedLayerError(stage.name, "conv2d", advice)
    most = 0
    while _part_tiles(stage, most + info.tile_columns, info) <= info.tiles:
        most += info.tile_columns
    if most == 0:
        raise CapacityError(_part_tiles(stage, 1, info), info.tiles)
    ends = range(most, stage.columns + most, most)
    return [Part(stage, end - most, min(end, stage.columns)) for end in ends]


def _part_tiles(stage: Stage, columns: int, info: ChipInfo) -> int:
    return _tiles(stage, columns, info) + _observer_tiles(stage, columns, info)


def _tiles(stage: Stage, columns: int, info: ChipInfo) -> int:
    """Return the tiles of so many columns of a layer; each layer and each group begins on a new."""
    groups = _groups(stage)
    across = math.ceil(columns / groups / info.tile_columns)
    return groups * math.ceil(stage.rows / info.tile_rows) * across


def _observer_tiles(stage: Stage, columns: int, info: ChipInfo) -> int:
    return 0 if stage.is_readout else math.ceil(columns / info.tile_rows)


def _groups(stage: Stage) -> int:
    return stage.layer.groups if isinstance(stage.layer, Conv2d) else 1


def _cut_layer(part: Part) -> Layer:
    layer, columns = part.stage.layer, part.end - part.first
    width = {"out_channels": columns} if isinstance(layer, Conv2d) else {"out_features": columns}
    return layer.model_copy(update={"inputs": (), **width})


def _observer(part: Part) -> list[Layer]:
    """Return a readout of one output, which sees the mean of each channel."""
    columns = part.end - part.first
    readout = Linear(name=OBSERVER, in_features=columns, out_features=1)
    if isinstance(part.stage.layer, Conv2d):
        return [GlobalAvgPool(name=f"{OBSERVER}_pool"), readout]
    return [readout]
