"""Local Tandem Learning in the loop (Yang et al., NeurIPS 2022): each layer by its own error."""

from collections.abc import Iterable, Iterator

from ltl_core.calibration.methods.method import MethodSetup
from ltl_core.calibration.observe import MeasuredGradients, ObservedLayer
from ltl_core.rules.select import select_rule
from ltl_core.spiking.gradient import Gradient
from ltl_core.student.student import Student
from ltl_core.teaching.targets import Batch


class LocalGradients:
    """Gradients of a local rule, found while the chip still runs the layers above."""

    def __init__(self, setup: MethodSetup) -> None:
        """Use the rule of the settings. Raises SettingError if it is not a local one."""
        self._rule = select_rule(setup.settings.rule)
        self._observable, self._readout = setup.settings.observable, setup.readout

    def gradients(
        self, student: Student, batch: Batch, layers: Iterable[ObservedLayer]
    ) -> Iterator[dict[str, Gradient]]:
        """Yield the gradients of each layer's own loss, layer by layer."""
        measured = MeasuredGradients(student, batch, self._rule, self._observable, self._readout)
        for layer in layers:
            yield measured.of(layer)
