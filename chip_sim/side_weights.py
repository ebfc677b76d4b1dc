"""The digital multiply-accumulate beside the array of a layer, for weights of low rank.

It is exact: it counts spikes, or takes the DAC codes of analog rows, and adds whole numbers. Single
precision holds the sums of `down` up to 24 bits; above that, and for `up`, they are in double.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from chip_sim.drive import RowDrive
from chip_sim.row_values import positions, rows_of
from chip_sim.spec import groups_of
from ltl_core.chip import SideWeights
from ltl_core.network.stages import Stage

_PARTS = 1 << 10  # of a spike: to these the counts of a pool are rounded
_EXACT = 1 << 24  # whole numbers up to here are exact in single precision
_CODE_MAX = 127


def side_sums(
    weights: SideWeights, stage: Stage, rows: RowDrive, *, analog: bool
) -> Float[Tensor, "batch column *position"]:
    """Return (up_scale up) @ ((down_scale down) @ x) for what the rows play, code units."""
    area = 1 if analog else math.prod(math.prod(window.kernel) for window in stage.pools)
    counts = _counts(rows.values, area)
    largest = float(counts.abs().max()) * _CODE_MAX * stage.rows
    down = weights.down.to(torch.float32 if largest < _EXACT else torch.float64)
    groups = groups_of(stage)
    up = weights.up.double().unflatten(0, (groups, -1))
    scale = weights.up_scale * weights.down_scale * rows.unit / area
    sums = torch.empty(len(counts), stage.columns, *positions(stage))
    for part in rows_of(counts, stage):
        played = part.values.unflatten(0, (groups, -1)).to(down.dtype)
        found = (up @ (down @ played).double()).flatten(0, 1).mul_(scale)
        sums[part.samples] = found.unflatten(1, (-1, *positions(stage))).transpose(0, 1)
    return sums


def _counts(values: Float[Tensor, "batch *input"], area: int) -> Float[Tensor, "batch *input"]:
    """Return the spikes of each pool of this area: these are whole, their mean need not be."""
    if area == 1:
        return values
    return (values * (area * _PARTS)).round_() / _PARTS
