"""The neuron: leaky integrate and fire with a hard reset, one step and a whole window.

u[t] = decay u[t-1] (1 - s[t-1]) + current[t];  s[t] = 1 where u[t] > threshold
(LTL, Yang et al., NeurIPS 2022; IF is decay = 1.) Or, where a spike subtracts the threshold,
u[t] = decay (u[t-1] - threshold s[t-1]) + current[t].
"""

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from ltl_core.settings import NeuronSettings, Reset
from ltl_core.surrogate import between


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
    membranes = current.clone()
    return membranes, fire_through(membranes, neuron)


def fire_through(
    current: Float[Tensor, "time batch *neuron"],
    neuron: NeuronSettings,
    before: Float[Tensor, "batch *neuron"] | None = None,
    out: Float[Tensor, "time batch *neuron"] | None = None,
) -> Float[Tensor, "time batch *neuron"]:
    """Spikes of every step; the currents *become* the membranes, in their own memory.

    `before` is the membrane of the step before the first, from rest where there is none. The hot
    loop of all learning: tested against `lif_step`.
    """
    spikes = torch.empty_like(current) if out is None else out
    kept = torch.empty_like(current[0])
    ones, above = torch.ones_like(kept), just_above(neuron.threshold, current)
    subtracts = neuron.reset is Reset.SUBTRACT
    for step, membrane in enumerate(current):
        if before is not None:
            if subtracts:
                fired = spikes[step - 1] if step else (before > neuron.threshold).to(before)
                torch.add(before, fired, alpha=-neuron.threshold, out=kept)
            else:
                between(before, before, -math.inf, above, out=kept)
            membrane.add_(kept, alpha=neuron.decay)
        torch.ops.aten.threshold_backward.grad_input(
            ones, membrane, neuron.threshold, grad_input=spikes[step]
        )
        before = membrane
    return spikes


def sum_time(values: Float[Tensor, "time *shape"]) -> Float[Tensor, "*shape"]:
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
