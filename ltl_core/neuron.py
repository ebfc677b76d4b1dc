"""The neuron: leaky integrate and fire with a hard reset, one step and a whole window.

u[t] = decay u[t-1] (1 - s[t-1]) + current[t];  s[t] = 1 where u[t] > threshold
(LTL, Yang et al., NeurIPS 2022; IF is decay = 1.)
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from ltl_core.settings import NeuronSettings


class LIFState(NamedTuple):
    """What a layer remembers from one step to the next."""

    membrane: Float[Tensor, "batch *neuron"]
    spikes: Float[Tensor, "batch *neuron"]  # of the step before: they reset the membrane


def lif_step(
    current: Float[Tensor, "batch *neuron"], state: LIFState, neuron: NeuronSettings
) -> LIFState:
    """Leak, reset, integrate, fire: u' = decay u (1 - s) + current; s' = [u' > threshold]."""
    membrane = neuron.decay * state.membrane * (1 - state.spikes) + current
    return LIFState(membrane, (membrane > neuron.threshold).to(membrane.dtype))


def lif_window(
    current: Float[Tensor, "time batch *neuron"], neuron: NeuronSettings
) -> tuple[Float[Tensor, "time batch *neuron"], Float[Tensor, "time batch *neuron"]]:
    """Membranes and spikes of every step, from rest.

    Works in buffers of its own; tested against `lif_step`.
    """
    membranes, spikes = torch.empty_like(current), torch.empty_like(current)
    membranes[0] = current[0]
    for step in range(len(current)):
        if step:
            kept = membranes[step - 1] * (1 - spikes[step - 1])
            torch.add(current[step], kept, alpha=neuron.decay, out=membranes[step])
        torch.gt(membranes[step], neuron.threshold, out=spikes[step])
    return membranes, spikes


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
