"""Tandem Learning in the loop (Wu et al., arXiv 1907.01167): counts forward, an ANN backward.

The chip's measured counts take the place of the student's in `ltl_core/rules/tandem.py`; the error
of the measured outputs goes back through the student's weights.
"""

from collections.abc import Iterable, Iterator

from ltl_core.calibration.methods.method import MethodSetup, measured_logits
from ltl_core.calibration.observe import ObservedLayer
from ltl_core.rules.end_to_end import Model
from ltl_core.rules.tandem import RateLayer, back_through_rates, mean_sources
from ltl_core.spiking.gradient import Gradient
from ltl_core.student.student import Student
from ltl_core.teaching.targets import Batch


class TandemGradients:
    """Gradients of the readout's loss by Tandem Learning, at the chip's measured rates."""

    def __init__(self, setup: MethodSetup) -> None:
        """Learn what the setup's readout learns; the rates of hidden layers are not taught."""
        self._readout = setup.readout

    def gradients(
        self, student: Student, batch: Batch, layers: Iterable[ObservedLayer]
    ) -> Iterator[dict[str, Gradient]]:
        """Yield the gradients of all matrices, once the readout was measured."""
        observed = list(layers)
        rates = [RateLayer(layer.stage, mean_sources(layer.sources)) for layer in observed]
        model = Model(student.network, student.weights(), student.neuron)
        loss, logits = batch.readout_loss(self._readout), measured_logits(observed[-1], student)
        yield back_through_rates(rates, logits, model, loss).gradients
