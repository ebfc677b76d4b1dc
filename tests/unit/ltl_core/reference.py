"""The published equations in plain form, with autograd: the closed forms are compared with them."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ltl_core.network.layers import Weighted
from ltl_core.network.stages import Stage
from ltl_core.rules.end_to_end import Model
from ltl_core.settings import NeuronSettings, Reset
from ltl_core.spiking.forward import Weights

Spike = Callable[[Tensor], Tensor]


class _Spike(torch.autograd.Function):
    """A spike: a step forward, a boxcar around the threshold backward."""

    @staticmethod
    def forward(ctx, membrane, threshold, width):
        ctx.save_for_backward(membrane)
        ctx.threshold, ctx.width = threshold, width
        return (membrane > threshold).to(membrane.dtype)

    @staticmethod
    def backward(ctx, gradient):
        (membrane,) = ctx.saved_tensors
        near = (membrane - ctx.threshold).abs() < ctx.width
        return gradient * near.to(gradient.dtype), None, None


def boxcar(neuron: NeuronSettings) -> Spike:
    """Return the spike with the surrogate of LTL."""
    return lambda u: _Spike.apply(u, neuron.threshold, neuron.surrogate_width)


def dspike(neuron: NeuronSettings, b: float) -> Spike:
    """Return the spike with the derivative of D(x; b), taken by autograd, as its backward."""

    def spike(u: Tensor) -> Tensor:
        x = (u / (2 * neuron.threshold)).clamp(0, 1)
        half = torch.tanh(torch.tensor(b / 2, dtype=u.dtype))
        soft = (torch.tanh(b * (x - 0.5)) + half) / (2 * half)
        return soft + ((u > neuron.threshold).to(u.dtype) - soft).detach()

    return spike


def of_the_input(inputs: Tensor, steps: int) -> dict[str | None, list[Tensor]]:
    """What layers without a layer below are shown, step by step: an image, or frames."""
    return {None: [inputs[:, t] if inputs.dim() > 4 else inputs for t in range(steps)]}


def layer_sums(layer: Weighted, weight: Tensor, bias: Tensor, rows: Tensor) -> Tensor:
    """Return W x + b of one step."""
    if layer.kind == "linear":
        return F.linear(rows.flatten(1), weight, bias)
    return F.conv2d(rows, weight, bias, layer.stride, layer.padding, 1, layer.groups)


def sums(stage: Stage, weights: Weights, sources: list[Tensor]) -> Tensor:
    """Add all branches of a stage at one step: each pooled, times its weights or its gain."""
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


def spike_trains(
    currents: list[Tensor], neuron: NeuronSettings, spike: Spike | None = None
) -> list[Tensor]:
    """Return the spikes of u[t] = decay u[t-1] (1 - s[t-1]) + W x[t] + b, with gradients."""
    spike = spike or boxcar(neuron)
    membrane = spikes = torch.zeros(1, dtype=currents[0].dtype)
    trains = []
    for current in currents:
        if neuron.reset is Reset.ZERO:
            membrane = neuron.decay * membrane * (1 - spikes) + current
        else:
            membrane = neuron.decay * (membrane - neuron.threshold * spikes) + current
        spikes = spike(membrane)
        trains.append(spikes)
    return trains


def online_trains(currents: list[Tensor], neuron: NeuronSettings) -> list[Tensor]:
    """Return the same spikes, with the membrane of the step before cut off from the gradient."""
    membrane = spikes = torch.zeros(1, dtype=currents[0].dtype)
    trains = []
    for current in currents:
        kept = (neuron.decay * membrane * (1 - spikes)).detach()
        membrane = kept + current
        spikes = _Spike.apply(membrane, neuron.threshold, neuron.surrogate_width)
        trains.append(spikes)
    return trains


class LocalTargets(NamedTuple):
    """Target rates of the hidden layers, and the labels of the readout."""

    rates: Mapping[str, Tensor]
    labels: Tensor


class Branches(NamedTuple):
    """Branches from hidden layers to losses of their own, and the weight lambda of these losses."""

    weights: dict[str, Tensor]
    balance: float


def local_gradients(
    model: Model, inputs: Tensor, targets: LocalTargets, *, offline: bool
) -> dict[str, Tensor]:
    """Return the gradients of LTL, offline or online: those of every layer's own loss.

    The input of a layer carries no gradient.
    """
    network, weights, neuron = model
    labels = targets.labels
    leaves = {n: w.clone().requires_grad_(not n.endswith("gain")) for n, w in weights.items()}
    outputs = of_the_input(inputs, neuron.steps)
    losses = []
    for stage in network.stages:
        sources = [outputs[branch.source] for branch in stage.branches]
        currents = [sums(stage, leaves, list(step)) for step in zip(*sources, strict=True)]
        if stage.is_readout:
            losses.append(
                offline_readout_loss(currents, labels)
                if offline
                else online_readout_loss(currents, labels, neuron)
            )
            break
        trains = (spike_trains if offline else online_trains)(currents, neuron)
        target = targets.rates[stage.name]
        losses.append(
            offline_loss(trains, target) if offline else online_loss(trains, target, neuron)
        )
        outputs[stage.name] = [spikes.detach() for spikes in trains]
    names = [name for name in leaves if not name.endswith("gain")]
    found = torch.autograd.grad(torch.stack(losses).sum(), [leaves[name] for name in names])
    return dict(zip(names, found, strict=True))


def offline_loss(trains: list[Tensor], target: Tensor) -> Tensor:
    """Return mean (r - R)^2."""
    return (torch.stack(trains).mean(0) - target).square().mean()


def online_loss(trains: list[Tensor], target: Tensor, neuron: NeuronSettings) -> Tensor:
    """Return sum_{t >= Tw} mean (r(t) - R)^2, where only s[t] of r(t) carries a gradient."""
    loss = torch.zeros((), dtype=target.dtype)
    count = torch.zeros_like(target)
    for step, spikes in enumerate(trains):
        rate = (count + spikes) / (step + 1)
        count = count + spikes.detach()
        if step >= neuron.warmup:
            loss = loss + (rate - target).square().mean()
    return loss


def offline_readout_loss(currents: list[Tensor], labels: Tensor) -> Tensor:
    """Return CE((1/T) sum_t (W s[t] + b), y)."""
    return F.cross_entropy(torch.stack(currents).mean(0), labels)


def online_readout_loss(currents: list[Tensor], labels: Tensor, neuron: NeuronSettings) -> Tensor:
    """Return sum_{t >= Tw} CE(Y[t] / (t+1), y); only the step t of Y[t] carries a gradient."""
    loss = torch.zeros((), dtype=currents[0].dtype)
    running = torch.zeros_like(currents[0])
    for step, current in enumerate(currents):
        logits = (running + current) / (step + 1)
        running = running + current.detach()
        if step >= neuron.warmup:
            loss = loss + F.cross_entropy(logits, labels)
    return loss


def end_to_end_gradients(
    model: Model,
    inputs: Tensor,
    wanted: Tensor,
    spike: Spike,
    shortcut: Branches | None = None,
    loss: Callable[[Tensor, Tensor], Tensor] = F.cross_entropy,
) -> dict[str, Tensor]:
    """Return gradients through time and space, with the losses of branches if there are any."""
    branches, balance = shortcut or Branches({}, 0.0)
    leaves = {f"branch:{n}": t.clone() for n, t in branches.items()}
    leaves |= {n: w.clone() for n, w in model.weights.items()}
    for leaf in leaves.values():
        leaf.requires_grad_()
    steps = model.neuron.steps
    outputs = of_the_input(inputs, steps)
    total = torch.zeros((), dtype=inputs.dtype)
    hidden = len(model.network.stages) - 1
    for stage in model.network.stages:
        sources = [outputs[branch.source] for branch in stage.branches]
        currents = [sums(stage, leaves, list(step)) for step in zip(*sources, strict=True)]
        if stage.is_readout:
            total = total + loss(torch.stack(currents).mean(0), wanted)
            break
        outputs[stage.name] = spike_trains(currents, model.neuron, spike)
        if branches:
            rate = torch.stack(outputs[stage.name]).mean(0)
            means = rate.mean((2, 3)) if rate.dim() == 4 else rate
            weight, bias = (leaves[f"branch:{stage.name}.{f}"] for f in ("weight", "bias"))
            total = total + balance / hidden * loss(F.linear(means, weight, bias), wanted)
    found = torch.autograd.grad(total, list(leaves.values()), allow_unused=True)
    return {n: g for n, g in zip(leaves, found, strict=True) if g is not None}


class _Count(torch.autograd.Function):
    """Spike counts: the student's forward; backward into the ANN where it is linear."""

    @staticmethod
    def forward(ctx, activation, counts, steps):
        ctx.save_for_backward(activation)
        ctx.steps = steps
        return counts

    @staticmethod
    def backward(ctx, gradient):
        (activation,) = ctx.saved_tensors
        return gradient * ((activation > 0) & (activation < ctx.steps)), None, None


def tandem_gradients(model: Model, inputs: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """Return the gradients of a = (W c + T b) / threshold, with the student's counts c forward."""
    leaves = {n: w.clone().requires_grad_() for n, w in model.weights.items()}
    steps, threshold = model.neuron.steps, model.neuron.threshold
    trains = of_the_input(inputs, steps)
    counts: dict[str | None, Tensor] = {None: torch.stack(trains[None]).sum(0)}
    scaled = {n: w * steps if n.endswith("bias") else w for n, w in leaves.items()}
    for stage in model.network.stages:
        whole = sums(stage, scaled, [counts[branch.source] for branch in stage.branches])
        if stage.is_readout:
            F.cross_entropy(whole / steps, labels).backward()
            break
        sources = [trains[branch.source] for branch in stage.branches]
        currents = [sums(stage, model.weights, list(s)) for s in zip(*sources, strict=True)]
        trains[stage.name] = [s.detach() for s in spike_trains(currents, model.neuron)]
        count = torch.stack(trains[stage.name]).sum(0)
        counts[stage.name] = _Count.apply(whole / threshold, count, steps)
    return {n: leaf.grad for n, leaf in leaves.items() if leaf.grad is not None}
