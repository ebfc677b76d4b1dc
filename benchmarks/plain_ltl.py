"""LTL as its equations read, with autograd over the whole window: slow, for comparison.

u[t] = decay u[t-1] (1 - s[t-1]) + W x[t] + b;  s[t] = [u[t] > threshold], a boxcar backward
offline: loss = CE + sum_l mean (r_l - R_l)^2;  online: the same at every step from the warm-up on,
without the gradient into earlier steps. What reaches a layer carries no gradient. Chains only.
"""

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ltl_core.network.layers import Conv2d
from ltl_core.network.spec import NetworkSpec
from ltl_core.network.stages import Stage
from ltl_core.settings import NeuronSettings


class _Spike(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, membrane: Tensor, neuron: NeuronSettings) -> Tensor:
        ctx.save_for_backward((membrane - neuron.threshold).abs() < neuron.surrogate_width)
        return (membrane > neuron.threshold).to(membrane.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient * ctx.saved_tensors[0], None


def gradients(
    network: NetworkSpec,
    weights: Mapping[str, Tensor],
    taught: tuple[Tensor, Tensor, Mapping[str, Tensor]],
    neuron: NeuronSettings,
    *,
    offline: bool,
) -> dict[str, Tensor]:
    """Gradients by tensor name for the batch `taught`: inputs, labels, target rates."""
    inputs, labels, targets = taught
    leaves = {name: tensor.clone().requires_grad_() for name, tensor in weights.items()}
    rows, losses = [inputs] * neuron.steps, []
    for stage in network.stages:
        currents = [_sums(stage, leaves, step) for step in rows]
        if stage.is_readout:
            losses += _readout_losses(currents, labels, neuron, offline)
            break
        trains = _trains(currents, neuron, offline)
        losses += _rate_losses(trains, targets[stage.name], neuron, offline)
        rows = [spikes.detach() for spikes in trains]
    torch.stack(losses).sum().backward()
    return {name: leaf.grad for name, leaf in leaves.items() if leaf.grad is not None}


def _sums(stage: Stage, weights: Mapping[str, Tensor], rows: Tensor) -> Tensor:
    weight, bias = weights[f"{stage.name}.weight"], weights[f"{stage.name}.bias"]
    if not isinstance(stage.layer, Conv2d):
        return F.linear(rows.flatten(1), weight, bias)
    return F.conv2d(rows, weight, bias, stage.layer.stride, stage.layer.padding)


def _trains(currents: list[Tensor], neuron: NeuronSettings, offline: bool) -> list[Tensor]:
    membrane = spikes = torch.zeros_like(currents[0])
    trains = []
    for current in currents:
        kept = neuron.decay * membrane * (1 - spikes)
        membrane = (kept if offline else kept.detach()) + current
        spikes = _Spike.apply(membrane, neuron)  # type: ignore[no-untyped-call]
        trains.append(spikes)
    return trains


def _rate_losses(
    trains: list[Tensor], target: Tensor, neuron: NeuronSettings, offline: bool
) -> list[Tensor]:
    if offline:
        return [(torch.stack(trains).mean(0) - target).square().mean()]
    losses, count = [], torch.zeros_like(target)
    for step, spikes in enumerate(trains):
        if step >= neuron.warmup:
            losses.append(((count + spikes) / (step + 1) - target).square().mean())
        count = count + spikes.detach()
    return losses


def _readout_losses(
    currents: list[Tensor], labels: Tensor, neuron: NeuronSettings, offline: bool
) -> list[Tensor]:
    if offline:
        return [F.cross_entropy(torch.stack(currents).mean(0), labels)]
    losses, total = [], torch.zeros_like(currents[0])
    for step, current in enumerate(currents):
        if step >= neuron.warmup:
            losses.append(F.cross_entropy((total + current) / (step + 1), labels))
        total = total + current.detach()
    return losses
