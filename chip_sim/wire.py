"""Voltage drops along the wire of a column, in closed form.

A column's wire is a ladder: from each row a device of conductance g_k leads to it, and segments of
resistance R lead to the converter, which holds its end at zero volts. The ladder is linear, so the
current at its end is linear in the row voltages. By reciprocity, row k contributes per volt

    g_k u_k,    u_k the voltage at its node when the end is held at one volt and the rows at zero.

Seen from the end, the wire behind node k has the conductance

    G_k = g_k + G_(k+1) / (1 + R G_(k+1)),    and    u_k = u_(k-1) / (1 + R G_k),

a continued fraction, exact for every R. It costs two passes over the rows when the weights are
computed, and nothing when they are multiplied. Drops along rows are not modelled.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from chip_sim.tiling import Tiling


def seen_through_wire(
    g: Float[Tensor, "2 column row"], tiling: Tiling, segment: float
) -> Float[Tensor, "2 column row"]:
    """Return the conductances, S, as the converters see them through segments of so many ohms.

    Every row of tiles has wires of its own.
    """
    return torch.cat([_ladder(g[..., rows], segment) for rows in tiling.row_blocks], -1)


def _ladder(g: Float[Tensor, "2 column row"], segment: float) -> Float[Tensor, "2 column row"]:
    behind = torch.empty_like(g)
    total = torch.zeros_like(g[..., 0])
    for row in reversed(range(g.shape[-1])):
        total = g[..., row] + total / (1 + segment * total)
        behind[..., row] = total
    return g * torch.cumprod(1 / (1 + segment * behind), -1)
