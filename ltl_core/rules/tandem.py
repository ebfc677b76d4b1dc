"""Tandem Learning (Wu et al., arXiv 1907.01167): an ANN that shares the weights carries the error.

Forward, the student computes its spike counts c_l. Beside each layer stands an ANN layer that reads
the counts of the layer below; with T biases a window, in units of the threshold,

    a_l = (W c_{l-1} + T b) / threshold,      c_0 = the input summed over the steps

Backward, dc/da = 1 where 0 < a < T, else 0, layer after layer to the input. The readout's logits
are (W c + T b) / T. The published neuron is IF (decay 1) that subtracts its threshold of 1: the
preset tandem-if. Other neurons are allowed.
"""

from collections.abc import Sequence
from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor

from ltl_core.network.stages import Stage
from ltl_core.rules.end_to_end import EndToEndResult, Model, errors_below
from ltl_core.spiking.forward import layer_traces, stage_sums
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
        traces = list(layer_traces(model.network, model.weights, inputs, model.neuron))
        layers = [RateLayer(trace.stage, mean_sources(trace.sources)) for trace in traces]
        logits = traces[-1].membrane[-1] / model.neuron.steps
        return back_through_rates(layers, logits, model, loss)


class RateLayer(NamedTuple):
    """One layer with the rates, computed or measured, that drive it."""

    stage: Stage
    sources: tuple[Float[Tensor, "one batch *_source"], ...]  # one for each branch


def back_through_rates(
    layers: Sequence[RateLayer],
    logits: Float[Tensor, "batch output"],
    model: Model,
    loss: ReadoutLoss,
) -> EndToEndResult:
    """Return the gradients of all matrices, through the ANN layers beside the spiking ones.

    `logits` are those of the same forward pass.
    """
    threshold = model.neuron.threshold
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


def mean_sources(
    sources: Sequence[Float[Tensor, "_time batch *_source"]],
) -> tuple[Float[Tensor, "one batch *_source"], ...]:
    """Return the mean of each source over time, as one step."""
    return tuple(source.mean(0, keepdim=True) for source in sources)
