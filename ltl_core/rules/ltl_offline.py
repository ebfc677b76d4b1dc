"""LTL offline (Yang et al., NeurIPS 2022): the layer's rate error, back through its own time.

loss = sum_l mean (r_l - R_l)^2,  e = 2 (r - R) / (N T),  N = batch * neurons
d[T] = e g[T]
d[t] = (e - decay u[t] d[t+1]) g[t] + decay (1 - s[t]) d[t+1]
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from ltl_core.rules.rule import LayerActivity
from ltl_core.settings import NeuronSettings


class LtlOffline:
    """Exact in time, local in space."""

    name = "ltl-offline"
    needs_membrane = True

    def first_step(self, neuron: NeuronSettings) -> int:  # noqa: ARG002 - part of the interface
        return 0

    def deltas(
        self, activity: LayerActivity, neuron: NeuronSettings
    ) -> Float[Tensor, "learned batch *neuron"]:
        """The recursion of the module's heading, from the last step to the first.

        A chip that shows only the window flag is read as u = threshold inside of it: g[t] is zero
        everywhere else.
        """
        spikes, window = activity.spikes, activity.window
        error = (
            spikes.mean(0).sub_(activity.target).mul_(2 / (activity.target.numel() * len(spikes)))
        )
        deltas = torch.empty_like(spikes)
        torch.mul(error, window[-1], out=deltas[-1])
        for step in range(len(spikes) - 2, -1, -1):
            later = deltas[step + 1] * neuron.decay
            membrane = neuron.threshold if activity.membrane is None else activity.membrane[step]
            torch.mul(error - membrane * later, window[step], out=deltas[step])
            deltas[step].addcmul_(1 - spikes[step], later)
        return deltas

    def readout_deltas(
        self,
        sums: Float[Tensor, "time batch class"],
        labels: Int[Tensor, " batch"],
        neuron: NeuronSettings,  # noqa: ARG002 - part of the interface
    ) -> Float[Tensor, "learned batch class"]:
        """d[t] = (softmax(Y[T] / T) - onehot) / (B T), the same at every step."""
        steps = len(sums)
        error = (sums[-1] / steps).softmax(-1) - F.one_hot(labels, sums.shape[-1])
        return (error / (len(labels) * steps)).expand(steps, *error.shape)
