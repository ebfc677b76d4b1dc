"""Shortcut back-propagation (Guo et al., NeurIPS 2024): hidden layers have branches to the loss.

During training the mean rate of each channel of a hidden layer feeds a linear branch, whose loss,
averaged over the branches, is added with the weight lambda; the branches are dropped afterwards:

    loss = loss(readout) + lambda mean_l loss(V_l mean_positions r_l + c_l)
    lambda(e) = lambda_0 (1 - e / E)

The published schedule of lambda could not be checked: the one above is our own. The rest is bptt
with a boxcar.
"""

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from ltl_core.network.spec import NetworkSpec
from ltl_core.rules.bptt import back_through
from ltl_core.rules.end_to_end import EndToEndResult, Model
from ltl_core.spiking.forward import LayerTrace, layer_traces
from ltl_core.spiking.surrogate import Boxcar
from ltl_core.teaching.readout import ReadoutLoss


class _BranchGradient(NamedTuple):
    error: Float[Tensor, "batch *neuron"]  # of a spike, the same at every step
    weight: Float[Tensor, "output channel"]
    bias: Float[Tensor, " output"]


class Shortcut:
    """Shortcut back-propagation: holds the branches, and lambda for the present epoch."""

    def __init__(self, network: NetworkSpec, *, weight: float, seed: int) -> None:
        """Draw the branches. `weight` is lambda at the start of the training."""
        generator = torch.Generator().manual_seed(seed)
        self._first, self._balance = weight, torch.tensor(weight)
        self._branches: dict[str, Tensor] = {}
        for stage in network.stages[:-1]:
            channels = stage.output_shape[0]
            start = torch.randn(network.classes, channels, generator=generator)
            self._branches[f"{stage.name}.weight"] = start / math.sqrt(channels)
            self._branches[f"{stage.name}.bias"] = torch.zeros(network.classes)

    @property
    def name(self) -> str:
        """Name of the rule, as in the settings."""
        return "shortcut"

    @property
    def state(self) -> dict[str, Tensor]:
        """Weights V_l and biases c_l of the branches, and lambda as `balance`."""
        return self._branches | {"balance": self._balance}

    def begin_epoch(
        self,
        fraction_done: float,
        model: Model,  # noqa: ARG002 - part of the interface
        inputs: Tensor,  # noqa: ARG002 - likewise
        loss: ReadoutLoss,  # noqa: ARG002 - likewise
    ) -> None:
        """Set lambda, which falls to zero linearly."""
        self._balance.fill_(self._first * (1 - fraction_done))

    def learn(
        self, model: Model, inputs: Float[Tensor, "batch *shape"], loss: ReadoutLoss
    ) -> EndToEndResult:
        """Return the gradients of the losses of readout and branches together."""
        traces = list(layer_traces(model.network, model.weights, inputs, model.neuron))
        branches = {
            trace.stage.name: self._branch_gradient(trace, trace.spikes, loss, len(traces) - 1)
            for trace in traces
            if trace.spikes is not None
        }
        errors = {name: branch.error for name, branch in branches.items()}
        result = back_through(traces, model, loss, Boxcar(), errors)
        state_gradients = {
            f"{name}.{field}": getattr(branch, field)
            for name, branch in branches.items()
            for field in ("weight", "bias")
        }
        return result._replace(state_gradients=state_gradients)

    def _branch_gradient(
        self, trace: LayerTrace, spikes: Tensor, loss: ReadoutLoss, branches: int
    ) -> _BranchGradient:
        rate = spikes.mean(0)
        means = rate.flatten(2).mean(2) if rate.dim() > 2 else rate
        name = trace.stage.name
        weight, bias = (self._branches[f"{name}.{f}"].to(rate) for f in ("weight", "bias"))
        error = loss.gradient(means @ weight.T + bias) * (float(self._balance) / branches)
        share = (error @ weight) / (rate[0, 0].numel() * len(spikes))
        shared = share.view(*share.shape, *[1] * (rate.dim() - 2)).expand_as(rate)
        return _BranchGradient(shared, error.T @ means, error.sum(0))
