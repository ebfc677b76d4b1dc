"""Tandem Learning (Wu et al., arXiv 1907.01167): an ANN that shares the weights carries the error.

Forward go the spike counts c_l of the student. Beside each layer stands an ANN layer that sees the
counts of the layer below; with T biases a window, in units of the threshold,

    a_l = (W c_{l-1} + T b) / threshold,      c_0 = the input summed over the steps

Backward, dc/da = 1 where 0 < a < T, else 0, layer after layer to the input. The readout's logits
are (W c + T b) / T. The published neuron is IF (decay 1) that subtracts its threshold of 1: the
preset of that name; any other neuron is handed on as it is.
"""

from jaxtyping import Float
from torch import Tensor

from ltl_core.rules.end_to_end import EndToEndResult, Model, errors_below
from ltl_core.spiking.forward import LayerTrace, layer_traces, stage_sums
from ltl_core.spiking.gradient import Gradient, stage_gradient
from ltl_core.spiking.surrogate import between
from ltl_core.teaching.readout import ReadoutLoss


class Tandem:
    """End to end in space, rates alone in time."""

    @property
    def name(self) -> str:
        return "tandem"

    @property
    def state(self) -> dict[str, Tensor]:
        return {}

    def begin_epoch(self, done: float, model: Model, inputs: Tensor, loss: ReadoutLoss) -> None:
        """Nothing to settle."""

    def learn(
        self, model: Model, inputs: Float[Tensor, "batch *shape"], loss: ReadoutLoss
    ) -> EndToEndResult:
        """Rates stand for counts: a / T = (W c / T + b) / threshold."""
        steps, threshold = model.neuron.steps, model.neuron.threshold
        layers = [
            _rates_of(w) for w in layer_traces(model.network, model.weights, inputs, model.neuron)
        ]
        logits = layers[-1].membrane[-1] / steps
        errors: dict[str, Tensor] = {}
        gradients: dict[str, Gradient] = {}
        deltas = loss.gradient(logits).unsqueeze(0)
        for layer in reversed(layers):
            stage = layer.stage
            if not stage.is_readout:
                sums = stage_sums(stage, model.weights, layer.sources)
                deltas = between(errors.pop(stage.name), sums, 0.0, threshold) / threshold
            gradients |= stage_gradient(stage, layer.sources, deltas)
            for source, error in errors_below(stage, model.weights, deltas):
                errors[source] = errors[source] + error if source in errors else error
        return EndToEndResult(gradients, {}, logits)


def _rates_of(window: LayerTrace) -> LayerTrace:
    """The window with what reached it averaged over its steps; its membrane as it ended."""
    sources = tuple(source.mean(0, keepdim=True) for source in window.sources)
    return LayerTrace(window.stage, sources, window.membrane[-1:].clone(), None)
