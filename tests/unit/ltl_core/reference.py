"""The published equations, plainly, with autograd: what the closed forms are held against."""

import torch
import torch.nn.functional as F
from torch import Tensor

from ltl_core.network import Stage
from ltl_core.settings import NeuronSettings


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


def sums(stage: Stage, weight: Tensor, bias: Tensor, rows: Tensor) -> Tensor:
    """W x + b of one step; pooling in front."""
    for pool in stage.pools:
        rows = F.avg_pool2d(rows, pool.kernel, pool.stride)
    if stage.layer.kind == "linear":
        return F.linear(rows.flatten(1), weight, bias)
    layer = stage.layer
    return F.conv2d(rows, weight, bias, layer.stride, layer.padding, 1, layer.groups)


def spike_trains(
    stage: Stage, weight: Tensor, bias: Tensor, rows: list[Tensor], neuron: NeuronSettings
) -> list[Tensor]:
    """u[t] = decay u[t-1] (1 - s[t-1]) + W x[t] + b, with the gradient in both paths."""
    membrane = spikes = torch.zeros(1, dtype=weight.dtype)
    trains = []
    for step in rows:
        membrane = neuron.decay * membrane * (1 - spikes) + sums(stage, weight, bias, step)
        spikes = _Spike.apply(membrane, neuron.threshold, neuron.surrogate_width)
        trains.append(spikes)
    return trains


def online_trains(
    stage: Stage, weight: Tensor, bias: Tensor, rows: list[Tensor], neuron: NeuronSettings
) -> list[Tensor]:
    """The same spikes, with the membrane of the step before cut off from the gradient."""
    membrane = spikes = torch.zeros(1, dtype=weight.dtype)
    trains = []
    for step in rows:
        kept = (neuron.decay * membrane * (1 - spikes)).detach()
        membrane = kept + sums(stage, weight, bias, step)
        spikes = _Spike.apply(membrane, neuron.threshold, neuron.surrogate_width)
        trains.append(spikes)
    return trains


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
