"""End-to-end surrogate gradient in the loop: measured spikes forward, the model's slopes backward.

Cramer et al., PNAS 119, e2109194119 (2022): the chip's own spikes, and its membranes or a model of
them, take the place of the student's; the error of the measured outputs goes back through layers
and time with the student's weights and the boxcar surrogate of `ltl_core/rules/bptt.py`.
"""

from collections.abc import Iterable, Iterator

from ltl_core.calibration.methods.method import MethodSetup, measured_logits
from ltl_core.calibration.observe import MeasuredActivity, ObservedLayer
from ltl_core.rules.bptt import ActiveLayer, back_through_layers
from ltl_core.rules.end_to_end import Model
from ltl_core.spiking.gradient import Gradient
from ltl_core.student.student import Student
from ltl_core.teaching.targets import Batch


class SurrogateGradients:
    """Gradients of the readout's loss through time, at the chip's measured spikes."""

    def __init__(self, setup: MethodSetup) -> None:
        """Learn what the setup's readout learns; the rates of hidden layers are not taught."""
        self._observable, self._readout = setup.settings.observable, setup.readout

    def gradients(
        self, student: Student, batch: Batch, layers: Iterable[ObservedLayer]
    ) -> Iterator[dict[str, Gradient]]:
        """Yield the gradients of all matrices, once the readout was measured."""
        activity, observed = MeasuredActivity(student, self._observable), list(layers)
        *hidden, readout = observed
        active = [
            ActiveLayer(
                layer.stage, layer.sources, activity.of(layer, batch.rates[layer.stage.name])
            )
            for layer in hidden
        ]
        active.append(ActiveLayer(readout.stage, readout.sources, None))
        model = Model(student.network, student.weights(), student.neuron)
        loss, logits = batch.readout_loss(self._readout), measured_logits(readout, student)
        yield back_through_layers(active, logits, model, loss).gradients
