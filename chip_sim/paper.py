"""The four non-idealities of LTL (Yang et al., NeurIPS 2022), as its authors compute them.

- mismatch p: every weight and bias is multiplied by 1 + p N(0, 1), drawn once for each chip. The
  whole network has one membrane time constant, |N(tau, p tau)|. The window of the surrogate is
  multiplied by 1 + p N(0, 1), anew for each neuron in each run, which is one update of a loop.
  Thresholds stay as they are.
- thermal noise s: what the rows of a hidden layer play, the analog image included, is multiplied by
  1 + s N(0, 1), anew for each value, step and sample. A zero stays a zero.
- silencing p: each spike of a hidden layer is deleted with probability p, anew in each step and
  sample. A deleted spike does not reset its membrane, and the window flag is off in that step: the
  gradient is that of the product of a spike and its mask.
- quantisation n: weights have n bits with the sign, over the range of the weight codes.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from chip_sim.drive import RowDrive
from chip_sim.randomness import stream
from chip_sim.spec import ChipSpec

_FRACTIONS = 1 << 12  # of one: a multiple of these keeps sums in double precision exact


def weight_factors(spec: ChipSpec, seed: int, tile: int) -> Float[Tensor, "*column_row"]:
    """Return the factor of every weight of a tile; both devices of a pair have the same one."""
    shape = (spec.tile_columns, spec.tile_rows)
    return _factors(shape, spec.paper.mismatch, stream(seed, tile, "paper weight"))


def bias_factors(spec: ChipSpec, seed: int, tile: int) -> Float[Tensor, " column"]:
    """Return the factor of the bias of every column of a tile."""
    columns = (spec.tile_columns,)
    found = _factors(columns, spec.paper.mismatch, stream(seed, tile, "paper bias"))
    return found.expand(columns)


def time_constant(spec: ChipSpec, seed: int) -> float:
    """Return the time constant of all membranes of a chip, as a multiple of the nominal one."""
    return float(_factors((), spec.paper.mismatch, stream(seed, "paper time constant")).abs())


def windows(
    width: float, shape: tuple[int, ...], spec: ChipSpec, rng: torch.Generator
) -> Float[Tensor, "column *_position"]:
    """Draw the half width of the window of every neuron for one run, code units."""
    return width * _factors(shape, spec.paper.mismatch, rng).expand(shape)


def with_thermal_noise(
    rows: RowDrive, steps: int, spec: ChipSpec, rng: torch.Generator
) -> RowDrive:
    """Return what the rows play in each of `steps` steps, [time * batch, *input], with its noise.

    `steps` is 1 for rows that hold all steps already. Values are in double precision.
    """
    values = rows.values.expand(steps, *rows.values.shape).flatten(0, 1)
    normal = torch.randn(values.shape, generator=rng).mul_(spec.paper.thermal_noise * _FRACTIONS)
    factors = normal.round_().div_(_FRACTIONS).add_(1).double()
    return RowDrive(factors.mul_(values), rows.unit)


def kept(
    like: Float[Tensor, "*shape"], silencing: float, rng: torch.Generator
) -> Bool[Tensor, "*shape"]:
    """Draw which spikes are not deleted."""
    return torch.rand(like.shape, generator=rng) >= silencing


def levels_of(spec: ChipSpec, *, is_readout: bool) -> int | None:
    """Return the largest weight of a layer in steps of its own; None if codes are fine enough."""
    bits = spec.paper.weight_bits
    if bits is None or (is_readout and not spec.paper.readout_quantised):
        return None
    levels = (1 << (bits - 1)) - 1
    return levels if levels < spec.code_max else None


def quantise(g: Float[Tensor, " some"], levels: int, spec: ChipSpec) -> Float[Tensor, " some"]:
    """Round conductances, S, to this number of steps between g_min and g_max."""
    device = spec.device
    step = (device.g_max - device.g_min) / levels
    return ((g - device.g_min) / step).round_().mul_(step).add_(device.g_min)


def _factors(shape: tuple[int, ...], sd: float, rng: torch.Generator) -> Tensor:
    return 1 + sd * torch.randn(shape, generator=rng) if sd else torch.ones(())
