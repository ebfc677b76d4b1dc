"""Bptt with Dspike (Li et al., NeurIPS 2021), whose temperature follows a finite difference.

Once an epoch the gradient of the loss by weights of the first layer is measured by moving them,
and of the temperatures b - step, b, b + step the one is taken whose surrogate gradient points the
same way best (cosine). Which weights, how far, and the step are ours.
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
PROBED = 24  # weights of the first layer
NUDGE = 0.05  # of its largest weight


class DspikeBptt:
    """The temperature is the rule's own tensor, since a checkpoint must keep it."""

    def __init__(self) -> None:
        self._temperature = torch.tensor(FIRST_TEMPERATURE)

    @property
    def name(self) -> str:
        return "dspike"

    @property
    def state(self) -> dict[str, Tensor]:
        return {"temperature": self._temperature}

    def begin_epoch(self, done: float, model: Model, inputs: Tensor, loss: ReadoutLoss) -> None:  # noqa: ARG002
        """Choose among the three nearest temperatures."""
        now = float(self._temperature)
        candidates = [now, now - TEMPERATURE_STEP, now + TEMPERATURE_STEP]
        allowed = [b for b in candidates if b >= LOWEST_TEMPERATURE]
        self._temperature.fill_(best_temperature(allowed, model, inputs, loss))

    def learn(
        self, model: Model, inputs: Float[Tensor, "batch *shape"], loss: ReadoutLoss
    ) -> EndToEndResult:
        """As `Bptt`."""
        return Bptt(Dspike(float(self._temperature))).learn(model, inputs, loss)


def best_temperature(
    candidates: list[float], model: Model, inputs: Tensor, loss: ReadoutLoss
) -> float:
    """Of the highest cosine with the measured gradient; the first where nothing was measured."""
    first = model.network.stages[0].layer.name
    places = probed_places(model.weights[f"{first}.weight"])
    measured = finite_difference(model, inputs, loss, places)
    shown = list(layer_traces(model.network, model.weights, inputs, model.neuron))

    def cosine(temperature: float) -> float:
        result = back_through(shown, model, loss, Dspike(temperature))
        found = result.gradients[first].weight.flatten()[places]
        return float(torch.nn.functional.cosine_similarity(found, measured, dim=0))

    return max(candidates, key=cosine)


def probed_places(weight: Tensor) -> Int[Tensor, " probed"]:
    """Spread evenly over a layer's weights."""
    return torch.linspace(0, weight.numel() - 1, min(PROBED, weight.numel())).long()


def finite_difference(
    model: Model, inputs: Tensor, loss: ReadoutLoss, places: Int[Tensor, " probed"]
) -> Float[Tensor, " probed"]:
    """(loss(w + h) - loss(w - h)) / 2h for these weights of the first layer."""
    name = f"{model.network.stages[0].layer.name}.weight"
    weight = model.weights[name]
    nudge = NUDGE * float(weight.abs().max())

    def loss_at(place: Tensor, change: float) -> float:
        moved = weight.clone()
        moved.view(-1)[place] += change
        weights = dict(model.weights) | {name: moved}
        *_, readout = layer_traces(model.network, weights, inputs, model.neuron)
        return float(loss.value(readout.membrane[-1] / model.neuron.steps))

    differences = [loss_at(place, nudge) - loss_at(place, -nudge) for place in places]
    return torch.tensor(differences, dtype=weight.dtype) / (2 * nudge)
