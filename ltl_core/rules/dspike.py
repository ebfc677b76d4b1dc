"""Bptt with Dspike (Li et al., NeurIPS 2021), whose temperature follows a finite difference.

Once an epoch the gradient of the loss by weights of the first layer is measured by moving them,
and of the temperatures b - step, b, b + step the one is taken whose surrogate gradient points most
nearly the same way (cosine). Which weights are moved, how far, and the step are our own choice.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ltl_core.rules.bptt import Bptt, back_through
from ltl_core.rules.end_to_end import EndToEndResult, Model
from ltl_core.spiking.forward import layer_traces
from ltl_core.spiking.surrogate import Dspike
from ltl_core.teaching.readout import ReadoutLoss

FIRST_TEMPERATURE, TEMPERATURE_STEP, LOWEST_TEMPERATURE = 3.0, 0.5, 0.5
PROBED = 24  # number of weights of the first layer that are moved
NUDGE = 0.05  # how far a weight is moved, as a fraction of the layer's largest weight


class DspikeBptt:
    """Bptt with the Dspike surrogate; its temperature is state, so that a checkpoint keeps it."""

    def __init__(self) -> None:
        """Start at `FIRST_TEMPERATURE`."""
        self._temperature = torch.tensor(FIRST_TEMPERATURE)

    @property
    def name(self) -> str:
        """Name of the rule, as in the settings."""
        return "dspike"

    @property
    def state(self) -> dict[str, Tensor]:
        """The temperature b of the surrogate, without unit."""
        return {"temperature": self._temperature}

    def begin_epoch(
        self,
        fraction_done: float,  # noqa: ARG002 - part of the interface
        model: Model,
        inputs: Tensor,
        loss: ReadoutLoss,
    ) -> None:
        """Choose the best of the present temperature and its two neighbours."""
        now = float(self._temperature)
        candidates = [now, now - TEMPERATURE_STEP, now + TEMPERATURE_STEP]
        allowed = [b for b in candidates if b >= LOWEST_TEMPERATURE]
        self._temperature.fill_(best_temperature(allowed, model, inputs, loss))

    def learn(
        self, model: Model, inputs: Float[Tensor, "batch *shape"], loss: ReadoutLoss
    ) -> EndToEndResult:
        """Return the gradients of the readout's loss, with the surrogate at this temperature."""
        return Bptt(Dspike(float(self._temperature))).learn(model, inputs, loss)


def best_temperature(
    candidates: list[float], model: Model, inputs: Tensor, loss: ReadoutLoss
) -> float:
    """Return the candidate whose gradient has the highest cosine with the measured one.

    If the measured gradient is zero, the first candidate is returned.
    """
    first = model.network.stages[0].layer.name
    probed = probed_weights(model.weights[f"{first}.weight"])
    measured = finite_difference(model, inputs, loss, probed)
    traces = list(layer_traces(model.network, model.weights, inputs, model.neuron))

    def cosine(temperature: float) -> float:
        result = back_through(traces, model, loss, Dspike(temperature))
        found = result.gradients[first].weight.flatten()[probed]
        return float(torch.nn.functional.cosine_similarity(found, measured, dim=0))

    return max(candidates, key=cosine)


def probed_weights(weight: Tensor) -> Int[Tensor, " probed"]:
    """Return the flat indices of the weights to move, evenly spaced over the whole tensor."""
    return torch.linspace(0, weight.numel() - 1, min(PROBED, weight.numel())).long()


def finite_difference(
    model: Model, inputs: Tensor, loss: ReadoutLoss, probed: Int[Tensor, " probed"]
) -> Float[Tensor, " probed"]:
    """Return (loss(w + h) - loss(w - h)) / 2h for these weights w of the first layer."""
    name = f"{model.network.stages[0].layer.name}.weight"
    weight = model.weights[name]
    nudge = NUDGE * float(weight.abs().max())

    def loss_at(index: Tensor, change: float) -> float:
        moved = weight.clone()
        moved.view(-1)[index] += change
        weights = dict(model.weights) | {name: moved}
        *_, readout = layer_traces(model.network, weights, inputs, model.neuron)
        return float(loss.value(readout.membrane[-1] / model.neuron.steps))

    differences = [loss_at(index, nudge) - loss_at(index, -nudge) for index in probed]
    return torch.tensor(differences, dtype=weight.dtype) / (2 * nudge)
