"""LTL online (Yang et al., NeurIPS 2022): a three-factor rule without temporal credit.

r(t) = (1 / (t+1)) sum_{k<=t} s[k];   loss = sum_{t>=Tw} mean (r(t) - R)^2
d[t] = 2 / (N (t+1)) (r(t) - R) g[t],   t = Tw .. T-1,   N = batch * neurons

with the target rates R, the warm-up Tw, the steps T, and g = ds/du.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from ltl_core.rules.rule import LayerActivity
from ltl_core.settings import NeuronSettings
from ltl_core.spiking.neuron import count_spikes
from ltl_core.teaching.readout import ReadoutLoss


class LtlOnline:
    """The online rule of LTL: layer error x window flag of the neuron x spike of the row."""

    name = "ltl-online"
    needs_whole_window = False

    def first_step(self, neuron: NeuronSettings) -> int:
        """Return the number of warm-up steps."""
        return neuron.warmup

    def deltas(
        self, activity: LayerActivity, neuron: NeuronSettings
    ) -> Float[Tensor, "learning_time batch *neuron"]:
        """Return d[t] = 2 / (N (t+1)) (r(t) - R) g[t] for t >= Tw."""
        skipped = max(0, neuron.warmup - activity.start)
        target, late_spikes = activity.target, activity.spikes[skipped:]
        count = _count_before(activity, skipped)
        deltas = torch.empty_like(late_spikes, dtype=target.dtype)
        for step, (spikes, delta) in enumerate(zip(late_spikes, deltas, strict=True), skipped):
            count += spikes
            elapsed = activity.start + step + 1
            error = torch.sub(count, target, alpha=elapsed)
            error *= 2 / (target.numel() * elapsed**2)
            activity.gate(error, step, neuron, out=delta)
        return deltas

    def readout_deltas(
        self,
        sums: Float[Tensor, "time batch output"],
        loss: ReadoutLoss,
        neuron: NeuronSettings,
        start: int = 0,
    ) -> Float[Tensor, "learning_time batch output"]:
        """Return d[t] = (dloss / dlogits)[t] / (t+1) for logits Y[t] / (t+1) and t >= Tw."""
        skipped = max(0, neuron.warmup - start)
        elapsed = _elapsed(start + skipped, sums[skipped:])
        return loss.gradient(sums[skipped:] / elapsed) / elapsed


def _count_before(activity: LayerActivity, step: int) -> Float[Tensor, "batch *neuron"]:
    """Return the number of spikes of each neuron before this step of the activity."""
    dtype = activity.target.dtype
    count = torch.zeros_like(activity.target)
    if step:
        count += count_spikes(activity.spikes[:step], dtype)
    return count if activity.counted is None else count.add_(activity.counted)


def _elapsed(first: int, like: Tensor) -> Tensor:
    """Return t + 1 for the steps of `like`, the first being `first`, to broadcast over it."""
    steps = torch.arange(first + 1, first + len(like) + 1, dtype=like.dtype, device=like.device)
    return steps.view(-1, *[1] * (like.dim() - 1))
