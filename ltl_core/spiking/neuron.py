"""The neuron: leaky integrate and fire, one step and a whole time window.

A spike resets the membrane to zero (LTL, Yang et al., NeurIPS 2022; IF is decay = 1):

    u[t] = decay u[t-1] (1 - s[t-1]) + current[t];  s[t] = 1 where u[t] > threshold

or subtracts the threshold: u[t] = decay (u[t-1] - threshold s[t-1]) + current[t].
"""

import math
from typing import NamedTuple

import torch
from jaxtyping import Float, Real
from torch import Tensor

from ltl_core.settings import NeuronSettings, Reset
from ltl_core.spiking.surrogate import between

_BYTE_STEPS = 255  # the largest count that a byte holds


class LIFState(NamedTuple):
    """State of a layer between two steps; potentials in the units of the threshold."""

    membrane: Float[Tensor, "batch *neuron"]
    spikes: Float[Tensor, "batch *neuron"]  # of the step before: they reset the membrane


class LIFWindow(NamedTuple):
    """Membranes and spikes of a layer at every step of a time window."""

    membranes: Float[Tensor, "time batch *neuron"]
    spikes: Real[Tensor, "time batch *neuron"]


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


def lif_window(current: Float[Tensor, "time batch *neuron"], neuron: NeuronSettings) -> LIFWindow:
    """Return membranes and spikes of every step, from a membrane at rest."""
    window = LIFWindow(torch.empty_like(current), torch.empty_like(current))
    lif_window_into(current, window, neuron)
    return window


def lif_window_into(
    current: Float[Tensor, "time batch *neuron"],
    out: LIFWindow,
    neuron: NeuronSettings,
    before: Float[Tensor, "batch *neuron"] | None = None,
) -> None:
    """Write membranes and spikes of every step to `out`; its membranes may be the currents.

    `before` is the membrane of the step before the first; None is a membrane at rest. This is the
    hot loop of all learning, so it works in its own buffers: tested against `lif_step`.
    """
    kept, spikes = torch.empty_like(out.membranes[0]), torch.empty_like(out.membranes[0])
    ones, above = torch.ones_like(kept), just_above(neuron.threshold, kept)
    for drive, membrane, fired in zip(current, out.membranes, out.spikes, strict=True):
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


def count_spikes(
    spikes: Real[Tensor, "time *shape"], dtype: torch.dtype
) -> Float[Tensor, "*shape"]:
    """Return the number of spikes of each neuron over all steps.

    Bytes are added as bytes for as many steps as cannot overflow.
    """
    first, *others = (sum_time(part).to(dtype) for part in spikes.split(_BYTE_STEPS))
    return sum(others, first)


def sum_time(values: Real[Tensor, "time *shape"]) -> Real[Tensor, "*shape"]:
    """Return the sum over all steps, added one by one: torch.sum takes three times as long."""
    total = values[0].clone()
    for value in values[1:]:
        total += value
    return total


def just_above(threshold: float, like: Tensor) -> float:
    """Return the next number above the threshold in the precision of `like`.

    So u < just_above(threshold) says u <= threshold: the neuron is silent.
    """
    exact = torch.tensor(threshold, dtype=like.dtype)
    return float(torch.nextafter(exact, torch.tensor(math.inf, dtype=like.dtype)))


def reintegrate(
    current: Float[Tensor, "time batch *neuron"],
    spikes: Float[Tensor, "time batch *neuron"],
    neuron: NeuronSettings,
) -> Float[Tensor, "time batch *neuron"]:
    """Return the membranes of a model with these currents that the *measured* spikes reset."""
    membranes = torch.empty_like(current)
    membranes[0] = current[0]
    for step in range(1, len(current)):
        kept = membranes[step - 1] * (1 - spikes[step - 1])
        torch.add(current[step], kept, alpha=neuron.decay, out=membranes[step])
    return membranes


def _fire(ones: Tensor, membrane: Tensor, neuron: NeuronSettings, out: Tensor) -> None:
    """Write 1 where u > threshold, else 0, in one pass over memory."""
    torch.ops.aten.threshold_backward.grad_input(ones, membrane, neuron.threshold, grad_input=out)
