"""LTL online (Yang et al., NeurIPS 2022): a three-factor rule without temporal credit.

r(t) = (1 / (t+1)) sum_{k<=t} s[k];   loss = sum_{t>=Tw} mean (r(t) - R)^2
d[t] = 2 / (N (t+1)) (r(t) - R) g[t],   t = Tw .. T-1,   N = batch * neurons
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from ltl_core.rules.rule import LayerActivity
from ltl_core.settings import NeuronSettings


class LtlOnline:
    """(layer error) x (window flag of the neuron) x (spike of the row)."""

    name = "ltl-online"
    needs_membrane = False

    def first_step(self, neuron: NeuronSettings) -> int:
        return neuron.warmup

    def deltas(
        self, activity: LayerActivity, neuron: NeuronSettings
    ) -> Float[Tensor, "learned batch *neuron"]:
        """d[t] = 2 / (N (t+1)) (r(t) - R) g[t] for t >= Tw."""
        first = neuron.warmup
        counts = activity.spikes.cumsum(0)[first:]
        elapsed = _elapsed(first, len(activity.spikes), counts)
        scale = 2 / (activity.target.numel() * elapsed)
        return (counts / elapsed - activity.target) * scale * activity.window[first:]

    def readout_deltas(
        self,
        sums: Float[Tensor, "time batch class"],
        labels: Int[Tensor, " batch"],
        neuron: NeuronSettings,
    ) -> Float[Tensor, "learned batch class"]:
        """d[t] = (softmax(Y[t] / (t+1)) - onehot) / (B (t+1)) for t >= Tw."""
        first = neuron.warmup
        elapsed = _elapsed(first, len(sums), sums)
        error = (sums[first:] / elapsed).softmax(-1) - F.one_hot(labels, sums.shape[-1])
        return error / (elapsed * len(labels))


def _elapsed(first: int, steps: int, like: Tensor) -> Tensor:
    """t + 1 for t = first .. steps - 1, shaped to broadcast over [time, ...]."""
    return torch.arange(first + 1, steps + 1, dtype=like.dtype, device=like.device).view(
        -1, *[1] * (like.dim() - 1)
    )
