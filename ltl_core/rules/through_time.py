"""From errors of spikes to deltas of currents, back through a layer's own time.

u[t+1] = decay u[t] (1 - s[t]) + I[t+1]        or, where a spike subtracts the threshold,
u[t+1] = decay (u[t] - threshold s[t]) + I[t+1];   with g = ds/du and e[t] = dloss / ds[t]

d[T] = e[T] g[T]
d[t] = (e[t] - decay u[t] d[t+1]) g[t] + decay (1 - s[t]) d[t+1]
d[t] = (e[t] - decay threshold d[t+1]) g[t] + decay d[t+1]
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from ltl_core.neuron import just_above
from ltl_core.rules.rule import LayerActivity
from ltl_core.settings import NeuronSettings, Reset
from ltl_core.surrogate import between


def deltas_through_time(
    errors: Float[Tensor, "time batch *neuron"], activity: LayerActivity, neuron: NeuronSettings
) -> Float[Tensor, "time batch *neuron"]:
    """The recursion of the module's heading, from the last step to the first.

    A chip that shows only the window flag is read as u = threshold inside of it: g[t] is zero
    everywhere else.
    """
    deltas = torch.empty_like(activity.spikes)
    activity.gate(errors[-1], -1, neuron, out=deltas[-1])
    for step in range(len(deltas) - 2, -1, -1):
        later = deltas[step + 1]
        if neuron.reset is Reset.SUBTRACT or activity.membrane is None:
            through = errors[step] - (neuron.threshold * neuron.decay) * later
        else:
            membrane = activity.membrane[step]
            through = torch.addcmul(errors[step], membrane, later, value=-neuron.decay)
        activity.gate(through, step, neuron, out=deltas[step])
        kept = later
        if neuron.reset is Reset.ZERO:
            kept = _where_silent(later, activity, step, neuron)
        deltas[step].add_(kept, alpha=neuron.decay)
    return deltas


def _where_silent(
    values: Tensor, activity: LayerActivity, step: int, neuron: NeuronSettings
) -> Tensor:
    """values * (1 - s[t]); where both are computed, u <= threshold says the same in one pass."""
    if activity.membrane is None or activity.window is not None:
        return values * (1 - activity.spikes[step])
    above = just_above(neuron.threshold, values)
    return between(values, activity.membrane[step], -math.inf, above)
