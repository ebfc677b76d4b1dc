"""The neuron at the end of a column: it leaks, integrates and fires, with mismatch and noise."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from chip_sim.gaussian_table import GaussianTable
from chip_sim.identity import NeuronMismatch

_SHORTEST = 0.05  # fraction of the nominal time constant: no circuit leaks faster


class NeuronParams(NamedTuple):
    """The neurons of a layer with mismatch and trims; [column, *one] stands for all positions."""

    threshold: Float[Tensor, "column *one"]  # code units; infinite where the comparator is dead
    decay: Float[Tensor, "column *one"]  # fraction of the membrane left after one step
    after_spike: Float[Tensor, "column *one"]  # fraction of the membrane left after a spike
    bias: Float[Tensor, "column *one"]  # added at every step, code units
    thermal_noise: float  # standard deviation in each step, code units
    window: float  # half width of the WINDOW flag, code units


class Registers(NamedTuple):
    """What the digital registers of a layer set, in code units."""

    threshold: float
    decay: float  # at the chip's temperature
    threshold_trim: Float[Tensor, " column"]
    bias_trim: Float[Tensor, " column"]
    leak_factor: Float[Tensor, " column"] | float = 1.0  # multiple of the time constant


class Activity(NamedTuple):
    """What neurons did in every step; window flag and membrane are None if not asked for."""

    spikes: Bool[Tensor, "time batch column *position"]
    window: Bool[Tensor, "time batch column *position"] | None
    membrane: Float[Tensor, "time batch column *position"] | None


class NeuronRecord(NamedTuple):
    """What to record beside the spikes."""

    window: bool
    membrane: bool


def neuron_params(
    registers: Registers, mismatch: NeuronMismatch, thermal_noise: float, window: float
) -> NeuronParams:
    """Return the neurons that circuits with this mismatch m make of the registers.

    threshold = T (1 + m) + trim. decay = d ** (1 / (f (1 + m))): a time constant longer by the
    fraction m and f times that. A spike takes away the fraction 1 + m of the membrane. The bias is
    1 + m times what is set. `thermal_noise` is a fraction of the threshold; `window` in code units.
    """
    longer = (1 + mismatch.leak) * registers.leak_factor
    decay = registers.decay ** (1 / longer.clamp(min=_SHORTEST))
    threshold = registers.threshold * (1 + mismatch.threshold) + registers.threshold_trim
    return NeuronParams(
        threshold=torch.where(mismatch.dead, torch.inf, threshold),
        decay=decay,
        after_spike=-decay * mismatch.reset,
        bias=registers.bias_trim * (1 + mismatch.bias),
        thermal_noise=thermal_noise * registers.threshold,
        window=window,
    )


def integrate_and_fire(
    sums: Float[Tensor, "time batch column *position"],
    params: NeuronParams,
    record: NeuronRecord,
    rng: torch.Generator,
) -> Activity:
    """u' = decay u + sum + bias + noise; fire if u' > threshold; a spike resets one step later.

    Membranes start at zero and are recorded before the reset. Works in its own buffers.
    """
    shape = (-1, *(1,) * (sums.ndim - 3))
    threshold, decay, after_spike, bias = (values.view(shape) for values in params[:4])
    membrane = sums.new_zeros(sums.shape[1:])
    fired = torch.zeros(sums.shape[1:], dtype=torch.bool)
    spikes = torch.empty(sums.shape, dtype=torch.bool)
    flags = torch.empty(sums.shape, dtype=torch.bool) if record.window else None
    membranes = torch.empty_like(sums) if record.membrane else None
    gaussian = GaussianTable(rng) if params.thermal_noise else None
    noise = torch.empty_like(membrane)
    for step, current in enumerate(sums):
        membrane.mul_(torch.where(fired, after_spike, decay)).add_(current).add_(bias)
        if gaussian is not None:
            membrane.add_(gaussian.fill_(noise), alpha=params.thermal_noise)
        fired = torch.gt(membrane, threshold, out=spikes[step])
        if flags is not None:
            torch.lt((membrane - threshold).abs(), params.window, out=flags[step])
        if membranes is not None:
            membranes[step] = membrane
    return Activity(spikes, flags, membranes)
