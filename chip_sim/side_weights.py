"""The digital multiply-accumulate beside the array of a layer, for weights of low rank.

It is exact: it counts spikes, or takes the DAC codes of analog rows, and adds whole numbers. The
numbers are held in double precision, which none of the sums can grow out of.
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

_PARTS = 1 << 10  # of a spike or a DAC code: what is no whole number is rounded to these


def side_sums(
    weights: SideWeights, stage: Stage, rows: RowDrive
) -> Float[Tensor, "batch column *position"]:
    """Return (up_scale up) @ ((down_scale down) @ x) for what the rows play, code units."""
    # A mean over a pool counts its spikes: these are whole, their mean need not be.
    area = math.prod(math.prod(window.kernel) for window in stage.pools)
    whole = (rows.values.double() * (area * _PARTS)).round_()
    down, groups = weights.down.double(), groups_of(stage)
    up = weights.up.double().unflatten(0, (groups, -1))
    scale = weights.up_scale * weights.down_scale * rows.unit / (area * _PARTS)
    sums = torch.empty(len(whole), stage.columns, *positions(stage))
    for part in rows_of(whole, stage):
        played = part.values.unflatten(0, (groups, -1))
        counts = (up @ (down @ played)).flatten(0, 1)
        counts = counts.unflatten(1, (-1, *positions(stage))).transpose(0, 1)
        sums[part.samples] = counts.mul_(scale)
    return sums
