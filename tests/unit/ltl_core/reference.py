"""The published equations, plainly, with autograd: what the closed forms are held against."""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from ltl_core.network import NetworkSpec, Stage, Weighted
from ltl_core.settings import NeuronSettings

Weights = Mapping[str, Tensor]


class _Spike(torch.autograd.Function):
    """A step forward; a boxcar around the threshold backward."""

    @staticmethod
    def forward(ctx, membrane, threshold, width):  # type: ignore[no-untyped-def]
        ctx.save_for_backward(membrane)
        ctx.threshold, ctx.width = threshold, width
        return (membrane > threshold).to(membrane.dtype)

    @staticmethod
    def backward(ctx, gradient):  # type: ignore[no-untyped-def]
        (membrane,) = ctx.saved_tensors
        near = (membrane - ctx.threshold).abs() < ctx.width
        return gradient * near.to(gradient.dtype), None, None


def layer_sums(layer: Weighted, weight: Tensor, bias: Tensor, rows: Tensor) -> Tensor:
    """W x + b of one step."""
    if layer.kind == "linear":
        return F.linear(rows.flatten(1), weight, bias)
    return F.conv2d(rows, weight, bias, layer.stride, layer.padding, 1, layer.groups)


def sums(stage: Stage, weights: Weights, sources: list[Tensor]) -> Tensor:
    """All branches of a stage at one step: pooled, times weights or times a gain, and added."""
    total = torch.zeros((), dtype=sources[0].dtype)
    straight = 0
    for branch, rows in zip(stage.branches, sources, strict=True):
        for pool in branch.pools:
            rows = F.avg_pool2d(rows, pool.kernel, pool.stride)
        if branch.layer is None:
            total = total + weights[f"{stage.name}.gain"][straight] * rows
            straight += 1
        else:
            name = branch.layer.name
            weight, bias = weights[f"{name}.weight"], weights[f"{name}.bias"]
            total = total + layer_sums(branch.layer, weight, bias, rows)
    return total


def spike_trains(currents: list[Tensor], neuron: NeuronSettings) -> list[Tensor]:
    """u[t] = decay u[t-1] (1 - s[t-1]) + W x[t] + b, with the gradient in both paths."""
    membrane = spikes = torch.zeros(1, dtype=currents[0].dtype)
    trains = []
    for current in currents:
        membrane = neuron.decay * membrane * (1 - spikes) + current
        spikes = _Spike.apply(membrane, neuron.threshold, neuron.surrogate_width)
        trains.append(spikes)
    return trains


def online_trains(currents: list[Tensor], neuron: NeuronSettings) -> list[Tensor]:
    """The same spikes, with the membrane of the step before cut off from the gradient."""
    membrane = spikes = torch.zeros(1, dtype=currents[0].dtype)
    trains = []
    for current in currents:
        kept = (neuron.decay * membrane * (1 - spikes)).detach()
        membrane = kept + current
        spikes = _Spike.apply(membrane, neuron.threshold, neuron.surrogate_width)
        trains.append(spikes)
    return trains


def local_gradients(
    network: NetworkSpec,
    weights: Weights,
    inputs: Tensor,
    taught: tuple[Mapping[str, Tensor], Tensor],
    how: tuple[bool, NeuronSettings],
) -> dict[str, Tensor]:
    """LTL, offline or online: every layer's own loss; what reaches it carries no gradient."""
    (targets, labels), (offline, neuron) = taught, how
    leaves = {n: w.clone().requires_grad_(not n.endswith("gain")) for n, w in weights.items()}
    frames = inputs.dim() > 4
    shown = {None: [inputs[:, t] if frames else inputs for t in range(neuron.steps)]}
    losses = []
    for stage in network.stages:
        sources = [shown[branch.source] for branch in stage.branches]
        currents = [sums(stage, leaves, list(step)) for step in zip(*sources, strict=True)]
        if stage.is_readout:
            losses.append(
                offline_readout_loss(currents, labels)
                if offline
                else online_readout_loss(currents, labels, neuron)
            )
            break
        trains = (spike_trains if offline else online_trains)(currents, neuron)
        target = targets[stage.name]
        losses.append(
            offline_loss(trains, target) if offline else online_loss(trains, target, neuron)
        )
        shown[stage.name] = [spikes.detach() for spikes in trains]
    names = [name for name in leaves if not name.endswith("gain")]
    found = torch.autograd.grad(torch.stack(losses).sum(), [leaves[name] for name in names])
    return dict(zip(names, found, strict=True))


def offline_loss(trains: list[Tensor], target: Tensor) -> Tensor:
    """mean (r - R)^2."""
    return (torch.stack(trains).mean(0) - target).square().mean()


def online_loss(trains: list[Tensor], target: Tensor, neuron: NeuronSettings) -> Tensor:
    """sum_{t >= Tw} mean (r(t) - R)^2, where only s[t] of r(t) carries a gradient."""
    loss = torch.zeros((), dtype=target.dtype)
    count = torch.zeros_like(target)
    for step, spikes in enumerate(trains):
        rate = (count + spikes) / (step + 1)
        count = count + spikes.detach()
        if step >= neuron.warmup:
            loss = loss + (rate - target).square().mean()
    return loss


def offline_readout_loss(currents: list[Tensor], labels: Tensor) -> Tensor:
    """CE((1/T) sum_t (W s[t] + b), y)."""
    return F.cross_entropy(torch.stack(currents).mean(0), labels)


def online_readout_loss(currents: list[Tensor], labels: Tensor, neuron: NeuronSettings) -> Tensor:
    """sum_{t >= Tw} CE(Y[t] / (t+1), y), where only the step t of Y[t] carries a gradient."""
    loss = torch.zeros((), dtype=currents[0].dtype)
    running = torch.zeros_like(currents[0])
    for step, current in enumerate(currents):
        logits = (running + current) / (step + 1)
        running = running + current.detach()
        if step >= neuron.warmup:
            loss = loss + F.cross_entropy(logits, labels)
    return loss
