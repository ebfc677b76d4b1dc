"""Shortcut back-propagation (Guo et al., NeurIPS 2024): every layer also has a way out of its own.

During training the mean rate of each channel of a hidden layer feeds a linear branch, whose loss,
averaged over the branches, is added with the weight lambda; the branches are dropped afterwards:

    loss = loss(readout) + lambda mean_l loss(V_l mean_positions r_l + c_l)
    lambda(e) = lambda_0 (1 - e / E)

The published schedule could not be checked; this one is ours. The rest is bptt with a boxcar.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from ltl_core.network.spec import NetworkSpec
from ltl_core.rules.bptt import back_through
from ltl_core.rules.end_to_end import EndToEndResult, Model
from ltl_core.spiking.forward import LayerTrace, layer_traces
from ltl_core.spiking.surrogate import Boxcar
from ltl_core.teaching.readout import ReadoutLoss


class Shortcut:
    """Holds the branches, and lambda for the epoch."""

    def __init__(self, network: NetworkSpec, *, weight: float, seed: int) -> None:
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
        return "shortcut"

    @property
    def state(self) -> dict[str, Tensor]:
        return self._branches | {"balance": self._balance}

    def begin_epoch(self, done: float, model: Model, inputs: Tensor, loss: ReadoutLoss) -> None:  # noqa: ARG002
        """lambda falls to zero."""
        self._balance.fill_(self._first * (1 - done))

    def learn(
        self, model: Model, inputs: Float[Tensor, "batch *shape"], loss: ReadoutLoss
    ) -> EndToEndResult:
        """Back through the branches and the readout at once."""
        shown = list(layer_traces(model.network, model.weights, inputs, model.neuron))
        gradients: dict[str, Tensor] = {}
        beside = {
            window.stage.name: self._through_branch(window, loss, len(shown) - 1, gradients)
            for window in shown[:-1]
        }
        result = back_through(shown, model, loss, Boxcar(), beside)
        return result._replace(state_gradients=gradients)

    def _through_branch(
        self, window: LayerTrace, loss: ReadoutLoss, branches: int, gradients: dict[str, Tensor]
    ) -> Float[Tensor, "batch *neuron"]:
        """Add the gradient of the branch to `gradients`; return the error of any spike."""
        rate = _present(window.spikes).mean(0)
        means = rate.flatten(2).mean(2) if rate.dim() > 2 else rate
        name = window.stage.name
        weight, bias = (self._branches[f"{name}.{f}"].to(rate) for f in ("weight", "bias"))
        error = loss.gradient(means @ weight.T + bias) * (float(self._balance) / branches)
        gradients[f"{name}.weight"], gradients[f"{name}.bias"] = error.T @ means, error.sum(0)
        share = (error @ weight) / (rate[0, 0].numel() * len(_present(window.spikes)))
        return share.view(*share.shape, *[1] * (rate.dim() - 2)).expand_as(rate)


def _present(value: Tensor | None) -> Tensor:
    if value is None:
        raise ValueError("A readout has no spikes.")
    return value
