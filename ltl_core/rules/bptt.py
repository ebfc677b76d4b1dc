"""End-to-end surrogate gradients through time and space: the rule that LTL is measured against.

loss = readout's loss of logits (1/T) sum_t (W_L s[t] + b_L); e_l[t] = sum over the layers above of
W^T d[t]; d[t] from e[t] through the layer's own time (rules/through_time.py). The surrogate is
LTL's boxcar; rules/dspike.py has another.
"""

from collections.abc import Mapping

from jaxtyping import Float
from torch import Tensor

from ltl_core.rules.end_to_end import EndToEndResult, Model, errors_below
from ltl_core.rules.rule import LayerActivity
from ltl_core.rules.through_time import deltas_through_time
from ltl_core.spiking.forward import LayerTrace, layer_traces
from ltl_core.spiking.gradient import Gradient, stage_gradient
from ltl_core.spiking.surrogate import Boxcar, Surrogate
from ltl_core.teaching.readout import ReadoutLoss


class Bptt:
    """One surrogate for every layer."""

    def __init__(self, surrogate: Surrogate | None = None) -> None:
        self._surrogate = surrogate or Boxcar()

    @property
    def name(self) -> str:
        return "bptt"

    @property
    def state(self) -> dict[str, Tensor]:
        return {}

    def begin_epoch(self, done: float, model: Model, inputs: Tensor, loss: ReadoutLoss) -> None:
        """Nothing to settle."""

    def learn(
        self, model: Model, inputs: Float[Tensor, "batch *shape"], loss: ReadoutLoss
    ) -> EndToEndResult:
        """Forward over all layers, then back from the readout."""
        shown = list(layer_traces(model.network, model.weights, inputs, model.neuron))
        return back_through(shown, model, loss, self._surrogate)


def back_through(
    shown: list[LayerTrace],
    model: Model,
    loss: ReadoutLoss,
    surrogate: Surrogate,
    beside: Mapping[str, Float[Tensor, "batch *_neuron"]] | None = None,
) -> EndToEndResult:
    """From the readout to the input; `beside` are errors of spikes from elsewhere, per step."""
    neuron = model.neuron
    gradients: dict[str, Gradient] = {}
    logits = shown[-1].membrane[-1] / neuron.steps
    deltas = (loss.gradient(logits) / neuron.steps).expand(neuron.steps, *logits.shape)
    errors: dict[str, Tensor] = {
        name: error.expand(neuron.steps, *error.shape).clone()
        for name, error in (beside or {}).items()
    }
    for window in reversed(shown):
        stage = window.stage
        if window.spikes is not None:
            # The target belongs to local rules.
            activity = LayerActivity(
                window.spikes, None, window.membrane, window.spikes[0], surrogate=surrogate
            )
            deltas = deltas_through_time(errors.pop(stage.name), activity, neuron)
        gradients |= stage_gradient(stage, window.sources, deltas)
        for source, error in errors_below(stage, model.weights, deltas):
            errors[source] = errors[source] + error if source in errors else error
    return EndToEndResult(gradients, {}, logits)
