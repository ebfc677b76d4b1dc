"""Tandem Learning (Wu et al., arXiv 1907.01167): an ANN that shares the weights carries the error.

Forward, the student computes its spike counts c_l. Beside each layer stands an ANN layer that reads
the counts of the layer below; with T biases a window, in units of the threshold,

    a_l = (W c_{l-1} + T b) / threshold,      c_0 = the input summed over the steps

Backward, dc/da = 1 where 0 < a < T, else 0, layer after layer to the input. The readout's logits
are (W c + T b) / T. The published neuron is IF (decay 1) that subtracts its threshold of 1: the
preset tandem-if. Other neurons are allowed.
"""

from jaxtyping import Float
from torch import Tensor

from ltl_core.rules.end_to_end import EndToEndResult, Model, errors_below
from ltl_core.spiking.forward import LayerTrace, layer_traces, stage_sums
from ltl_core.spiking.gradient import Gradient, stage_gradient
from ltl_core.spiking.surrogate import between
from ltl_core.teaching.readout import ReadoutLoss


class Tandem:
    """Tandem Learning: end to end in space, with rates alone in time."""

    @property
    def name(self) -> str:
        """Name of the rule, as in the settings."""
        return "tandem"

    @property
    def state(self) -> dict[str, Tensor]:
        """No tensors: the rule holds none."""
        return {}

    def begin_epoch(
        self, fraction_done: float, model: Model, inputs: Tensor, loss: ReadoutLoss
    ) -> None:
        """Do nothing: the rule is the same in every epoch."""

    def learn(
        self, model: Model, inputs: Float[Tensor, "batch *shape"], loss: ReadoutLoss
    ) -> EndToEndResult:
        """Return the gradients, computed in rates: a / T = (W c / T + b) / threshold."""
        steps, threshold = model.neuron.steps, model.neuron.threshold
        traces = layer_traces(model.network, model.weights, inputs, model.neuron)
        layers = [_averaged(trace) for trace in traces]
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


def _averaged(trace: LayerTrace) -> LayerTrace:
    """Return the trace as one step: the mean of its sources, and its last membrane."""
    sources = tuple(source.mean(0, keepdim=True) for source in trace.sources)
    return LayerTrace(trace.stage, sources, trace.membrane[-1:].clone(), None)
