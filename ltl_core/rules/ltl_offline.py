"""LTL offline (Yang et al., NeurIPS 2022): the layer's rate error, back through its own time.

loss = sum_l mean (r_l - R_l)^2,  e = 2 (r - R) / (N T),  N = batch * neurons
d[T] = e g[T]
d[t] = (e - decay u[t] d[t+1]) g[t] + decay (1 - s[t]) d[t+1]
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from ltl_core.neuron import just_above, sum_time
from ltl_core.readout import Goal
from ltl_core.rules.rule import LayerActivity
from ltl_core.settings import NeuronSettings
from ltl_core.surrogate import between


class LtlOffline:
    """Exact in time, local in space."""

    name = "ltl-offline"
    needs_whole_window = True

    def first_step(self, neuron: NeuronSettings) -> int:  # noqa: ARG002 - part of the interface
        return 0

    def deltas(
        self, activity: LayerActivity, neuron: NeuronSettings
    ) -> Float[Tensor, "learned batch *neuron"]:
        """The recursion of the module's heading, from the last step to the first.

        A chip that shows only the window flag is read as u = threshold inside of it: g[t] is zero
        everywhere else.
        """
        spikes, steps = activity.spikes, len(activity.spikes)
        error = sum_time(spikes).div_(steps).sub_(activity.target)
        error *= 2 / (activity.target.numel() * steps)
        deltas = torch.empty_like(spikes)
        activity.gate(error, -1, neuron, out=deltas[-1])
        for step in range(len(spikes) - 2, -1, -1):
            later = deltas[step + 1]
            if activity.membrane is None:
                through = error - (neuron.threshold * neuron.decay) * later
            else:
                through = torch.addcmul(error, activity.membrane[step], later, value=-neuron.decay)
            activity.gate(through, step, neuron, out=deltas[step])
            deltas[step].add_(_where_silent(later, activity, step, neuron), alpha=neuron.decay)
        return deltas

    def readout_deltas(
        self,
        sums: Float[Tensor, "time batch output"],
        goal: Goal,
        neuron: NeuronSettings,  # noqa: ARG002 - part of the interface
        start: int = 0,  # noqa: ARG002 - likewise
    ) -> Float[Tensor, "learned batch output"]:
        """d[t] = (dloss / dlogits) / T with logits Y[T] / T, the same at every step."""
        steps = len(sums)
        error = goal.error(sums[-1] / steps)
        return (error / steps).expand(steps, *error.shape)


def _where_silent(
    values: Tensor, activity: LayerActivity, step: int, neuron: NeuronSettings
) -> Tensor:
    """values * (1 - s[t]); where both are computed, u <= threshold says the same in one pass."""
    if activity.membrane is None or activity.window is not None:
        return values * (1 - activity.spikes[step])
    above = just_above(neuron.threshold, values)
    return between(values, activity.membrane[step], -math.inf, above)
