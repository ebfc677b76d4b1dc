"""LTL offline (Yang et al., NeurIPS 2022): the layer's rate error, back through the layer's time.

loss = sum_l mean (r_l - R_l)^2,  e = 2 (r - R) / (N T),  N = batch * neurons
d[T] = e g[T]
d[t] = (e - decay u[t] d[t+1]) g[t] + decay (1 - s[t]) d[t+1]

with the rates r, the target rates R, the steps T, and g = ds/du.
"""

from jaxtyping import Float
from torch import Tensor

from ltl_core.rules.rule import LayerActivity
from ltl_core.rules.through_time import deltas_through_time
from ltl_core.settings import NeuronSettings
from ltl_core.spiking.neuron import count_spikes
from ltl_core.teaching.readout import ReadoutLoss


class LtlOffline:
    """The offline rule of LTL: exact in time, local in space."""

    name = "ltl-offline"
    needs_whole_window = True

    def first_step(self, neuron: NeuronSettings) -> int:  # noqa: ARG002 - part of the interface
        """Return 0: the rule learns at every step."""
        return 0

    def deltas(
        self, activity: LayerActivity, neuron: NeuronSettings
    ) -> Float[Tensor, "learning_time batch *neuron"]:
        """Return d[t] by the recursion in the module's docstring; see rules/through_time.py."""
        target, steps = activity.target, len(activity.spikes)
        error = count_spikes(activity.spikes, target.dtype).div_(steps).sub_(target)
        error *= 2 / (target.numel() * steps)
        return deltas_through_time(error.expand_as(activity.spikes), activity, neuron)

    def readout_deltas(
        self,
        sums: Float[Tensor, "time batch output"],
        loss: ReadoutLoss,
        neuron: NeuronSettings,  # noqa: ARG002 - part of the interface
        start: int = 0,  # noqa: ARG002 - likewise
    ) -> Float[Tensor, "learning_time batch output"]:
        """Return d[t] = (dloss / dlogits) / T for logits Y[T] / T, the same at every step."""
        steps = len(sums)
        error = loss.gradient(sums[-1] / steps)
        return (error / steps).expand(steps, *error.shape)
