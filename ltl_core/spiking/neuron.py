"""The neuron: leaky integrate and fire with a hard reset, one step and a whole window.

u[t] = decay u[t-1] (1 - s[t-1]) + current[t];  s[t] = 1 where u[t] > threshold
(LTL, Yang et al., NeurIPS 2022; IF is decay = 1.) Or, where a spike subtracts the threshold,
u[t] = decay (u[t-1] - threshold s[t-1]) + current[t].
"""

import math
from typing import NamedTuple

import torch
from jaxtyping import Float, Real
from torch import Tensor

from ltl_core.settings import NeuronSettings, Reset
from ltl_core.spiking.surrogate import between

_BYTE_STEPS = 255  # so many ones fit into a byte


class LIFState(NamedTuple):
    """What a layer remembers from one step to the next."""

    membrane: Float[Tensor, "batch *neuron"]
    spikes: Float[Tensor, "batch *neuron"]  # of the step before: they reset the membrane


def lif_step(
    current: Float[Tensor, "batch *neuron"], state: LIFState, neuron: NeuronSettings
) -> LIFState:
    """Leak, reset, integrate, fire: u' = decay u (1 - s) + current; s' = [u' > threshold]."""
    if neuron.reset is Reset.SUBTRACT:
        kept = state.membrane - neuron.threshold * state.spikes
    else:
        kept = state.membrane * (1 - state.spikes)
    membrane = neuron.decay * kept + current
    return LIFState(membrane, (membrane > neuron.threshold).to(membrane.dtype))


def lif_window(
    current: Float[Tensor, "time batch *neuron"], neuron: NeuronSettings
) -> tuple[Float[Tensor, "time batch *neuron"], Float[Tensor, "time batch *neuron"]]:
    """Membranes and spikes of every step, from rest."""
    membranes, spikes = torch.empty_like(current), torch.empty_like(current)
    lif_window_into(current, LIFWindow(membranes, spikes), neuron)
    return membranes, spikes


class LIFWindow(NamedTuple):
    """Where a window goes. The membranes may take the place of the currents."""

    membranes: Float[Tensor, "time batch *neuron"]
    spikes: Real[Tensor, "time batch *neuron"]


def lif_window_into(
    current: Float[Tensor, "time batch *neuron"],
    into: LIFWindow,
    neuron: NeuronSettings,
    before: Float[Tensor, "batch *neuron"] | None = None,
) -> None:
    """Membranes and spikes of every step, written where they are to go.

    `before` is the membrane of the step before the first, from rest where there is none. The hot
    loop of all learning: tested against `lif_step`.
    """
    kept, spikes = torch.empty_like(into.membranes[0]), torch.empty_like(into.membranes[0])
    ones, above = torch.ones_like(kept), just_above(neuron.threshold, kept)
    for drive, membrane, fired in zip(current, into.membranes, into.spikes, strict=True):
        if before is None:
            membrane.copy_(drive)
        else:
            if neuron.reset is Reset.SUBTRACT:
                _fire(ones, before, neuron, spikes)
                torch.add(before, spikes, alpha=-neuron.threshold, out=kept)
            else:
                between(before, before, -math.inf, above, out=kept)
            torch.add(drive, kept, alpha=neuron.decay, out=membrane)
        _fire(ones, membrane, neuron, spikes)
        fired.copy_(spikes)
        before = membrane


def _fire(ones: Tensor, membrane: Tensor, neuron: NeuronSettings, out: Tensor) -> None:
    """1 where u > threshold, else 0: one pass."""
    torch.ops.aten.threshold_backward.grad_input(ones, membrane, neuron.threshold, grad_input=out)


def count_spikes(
    spikes: Real[Tensor, "time *shape"], dtype: torch.dtype
) -> Float[Tensor, "*shape"]:
    """Of each neuron over the steps; in bytes as long as they cannot overflow."""
    first, *others = (sum_time(part).to(dtype) for part in spikes.split(_BYTE_STEPS))
    return sum(others, first)


def sum_time(values: Real[Tensor, "time *shape"]) -> Real[Tensor, "*shape"]:
    """Over the steps, one after the other: torch's own sum takes three times as long."""
    total = values[0].clone()
    for value in values[1:]:
        total += value
    return total


def just_above(threshold: float, like: Tensor) -> float:
    """The next number of this precision: u < it is u <= threshold, where a neuron is silent."""
    exact = torch.tensor(threshold, dtype=like.dtype)
    return float(torch.nextafter(exact, torch.tensor(math.inf, dtype=like.dtype)))


def reintegrate(
    current: Float[Tensor, "time batch *neuron"],
    spikes: Float[Tensor, "time batch *neuron"],
    neuron: NeuronSettings,
) -> Float[Tensor, "time batch *neuron"]:
    """The membrane that a model with these currents has if it is reset by *measured* spikes."""
    membranes = torch.empty_like(current)
    membranes[0] = current[0]
    for step in range(1, len(current)):
        kept = membranes[step - 1] * (1 - spikes[step - 1])
        torch.add(current[step], kept, alpha=neuron.decay, out=membranes[step])
    return membranes
