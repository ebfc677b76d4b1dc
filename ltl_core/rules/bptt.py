"""Back-propagation through time and space with a surrogate gradient: what LTL is compared with.

loss = the readout's loss of the logits (1/T) sum_t (W_L s[t] + b_L);
e_l[t] = sum over the layers that read layer l of W^T d[t];
d[t] follows from e[t] through the layer's own time (rules/through_time.py).
The surrogate is LTL's boxcar; rules/dspike.py has another.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor

from ltl_core.network.stages import Stage
from ltl_core.rules.end_to_end import EndToEndResult, Model, errors_below
from ltl_core.rules.rule import LayerActivity
from ltl_core.rules.through_time import deltas_through_time
from ltl_core.spiking.forward import LayerTrace, layer_traces
from ltl_core.spiking.gradient import Gradient, stage_gradient
from ltl_core.spiking.surrogate import Boxcar, Surrogate
from ltl_core.teaching.readout import ReadoutLoss


class Bptt:
    """Back-propagation through time and space, with one surrogate for every layer."""

    def __init__(self, surrogate: Surrogate | None = None) -> None:
        """Use this surrogate, or the boxcar."""
        self._surrogate = surrogate or Boxcar()

    @property
    def name(self) -> str:
        """Name of the rule, as in the settings."""
        return "bptt"

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
        """Return the gradients of all matrices; the error goes back from the readout."""
        traces = list(layer_traces(model.network, model.weights, inputs, model.neuron))
        return back_through(traces, model, loss, self._surrogate)


class ActiveLayer(NamedTuple):
    """One layer with its activity, computed or measured, through which an error goes back."""

    stage: Stage
    sources: tuple[Float[Tensor, "_time batch *_source"], ...]  # one for each branch
    activity: LayerActivity | None  # of a hidden layer; its target is not read


def back_through(
    traces: list[LayerTrace],
    model: Model,
    loss: ReadoutLoss,
    surrogate: Surrogate,
    added_errors: Mapping[str, Float[Tensor, "batch *_neuron"]] | None = None,
) -> EndToEndResult:
    """Return the gradients of all matrices, going back from the readout to the input.

    `added_errors` are errors of spikes, by layer and the same at every step, that are added to
    those of the readout's loss.
    """
    logits = traces[-1].membrane[-1] / model.neuron.steps
    layers = [_active(trace, surrogate) for trace in traces]
    return back_through_layers(layers, logits, model, loss, added_errors)


def back_through_layers(
    layers: Sequence[ActiveLayer],
    logits: Float[Tensor, "batch output"],
    model: Model,
    loss: ReadoutLoss,
    added_errors: Mapping[str, Float[Tensor, "batch *_neuron"]] | None = None,
) -> EndToEndResult:
    """Do what `back_through` does, with activity that may have been measured on a chip.

    `logits` are those of the same forward pass. Raises ValueError if a layer has neither a window
    nor a membrane.
    """
    neuron = model.neuron
    gradients: dict[str, Gradient] = {}
    deltas = (loss.gradient(logits) / neuron.steps).expand(neuron.steps, *logits.shape)
    errors: dict[str, Tensor] = {
        name: error.expand(neuron.steps, *error.shape).clone()
        for name, error in (added_errors or {}).items()
    }
    for layer in reversed(layers):
        if layer.activity is not None:
            deltas = deltas_through_time(errors.pop(layer.stage.name), layer.activity, neuron)
        gradients |= stage_gradient(layer.stage, layer.sources, deltas)
        for source, error in errors_below(layer.stage, model.weights, deltas):
            errors[source] = errors[source] + error if source in errors else error
    return EndToEndResult(gradients, {}, logits)


def _active(trace: LayerTrace, surrogate: Surrogate) -> ActiveLayer:
    if trace.spikes is None:
        return ActiveLayer(trace.stage, trace.sources, None)
    # Only local rules read the target.
    activity = LayerActivity(
        trace.spikes, None, trace.membrane, trace.spikes[0], surrogate=surrogate
    )
    return ActiveLayer(trace.stage, trace.sources, activity)
