"""From errors of spikes to deltas of currents, back through the time of one layer.

If a spike resets the membrane to zero:    u[t+1] = decay u[t] (1 - s[t]) + I[t+1]
If a spike subtracts the threshold:        u[t+1] = decay (u[t] - threshold s[t]) + I[t+1]

With g = ds/du and e[t] = dloss / ds[t], the deltas d[t] = dloss / dI[t] of the two are

d[T] = e[T] g[T]
d[t] = (e[t] - decay u[t] d[t+1]) g[t] + decay (1 - s[t]) d[t+1]
d[t] = (e[t] - decay threshold d[t+1]) g[t] + decay d[t+1]
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from ltl_core.rules.rule import LayerActivity
from ltl_core.settings import NeuronSettings, Reset
from ltl_core.spiking.neuron import just_above
from ltl_core.spiking.surrogate import between


def deltas_through_time(
    errors: Float[Tensor, "time batch *neuron"], activity: LayerActivity, neuron: NeuronSettings
) -> Float[Tensor, "time batch *neuron"]:
    """Return d[t] by the recursion in the module's docstring, from the last step to the first.

    If a chip reports only the window flag, u = threshold stands for the membrane inside the
    window; outside, g[t] is zero.
    """
    deltas = torch.empty_like(activity.spikes, dtype=errors.dtype)
    above = just_above(neuron.threshold, errors)
    activity.gate(errors[-1], -1, neuron, out=deltas[-1])
    through, kept = torch.empty_like(deltas[-1]), torch.empty_like(deltas[-1])
    for step in range(len(deltas) - 2, -1, -1):
        later, delta = deltas[step + 1], deltas[step]
        if neuron.reset is Reset.SUBTRACT or activity.membrane is None:
            whole = neuron.threshold * neuron.decay
            torch.sub(errors[step], later, alpha=whole, out=through)
        else:
            membrane = activity.membrane[step]
            torch.addcmul(errors[step], membrane, later, value=-neuron.decay, out=through)
        activity.gate(through, step, neuron, out=delta)
        if neuron.reset is Reset.ZERO:
            later = _where_silent(later, activity, step, above, out=kept)
        delta.add_(later, alpha=neuron.decay)
    return deltas


def _where_silent(
    values: Tensor, activity: LayerActivity, step: int, above: float, out: Tensor
) -> Tensor:
    """Return values * (1 - s[t]), in `out`.

    If membrane and spikes are both computed, u < above says the same in one pass over memory.
    """
    if activity.membrane is None or activity.window is not None:
        return torch.mul(values, 1 - activity.spikes[step], out=out)
    return between(values, activity.membrane[step], -math.inf, above, out)
