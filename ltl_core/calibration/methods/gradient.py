"""Methods that move latent weights by gradients: where the gradients come from is their own."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Protocol, runtime_checkable

from torch import Tensor

from ltl_core.calibration.methods.method import (
    BatchQuality,
    LearningStep,
    MethodSetup,
    QualityMeter,
)
from ltl_core.calibration.observe import ObservedLayer, observed_layers
from ltl_core.chip import LayerCodes, SideWeights
from ltl_core.settings import CalibrationSettings, StageName
from ltl_core.spiking.gradient import Gradient
from ltl_core.student.student import Student
from ltl_core.teaching.targets import Batch
from ltl_core.training.latent_side_weights import LatentSideWeights
from ltl_core.training.latent_weights import LatentWeights, StepSizes

# Times the step of a threshold: the bias alone shifts a column, which both did before.
_BIAS = 1.5


@runtime_checkable
class GradientSource(Protocol):
    """Draws the gradients of all matrices from what a chip recorded of one batch."""

    def gradients(
        self, student: Student, batch: Batch, layers: Iterable[ObservedLayer]
    ) -> Iterator[dict[str, Gradient]]:
        """Yield gradients in the units of the student's weights, each matrix once.

        `student` holds the codes that are on the chip. `layers` come in the order of the network,
        each as soon as the chip has recorded it. Raises ValueError if a recording lacks what the
        settings ask for.
        """
        ...


class GradientMethod:
    """Moves weights and trims by Adam, in steps of codes that are alike in all layers."""

    def __init__(self, setup: MethodSetup, source: GradientSource) -> None:
        """Start at the codes of the setup's student."""
        self._setup, self._source = setup, source
        self._latent = LatentWeights(setup.student, _steps_on(setup))
        self._side = _side_of(setup)

    @property
    def codes(self) -> dict[str, LayerCodes]:
        """The latent weights, rounded; a cell keeps its code within the write margin."""
        return self._latent.codes

    @property
    def side(self) -> Mapping[str, SideWeights]:
        """The latent side weights, rounded to codes."""
        return self._setup.student.side if self._side is None else self._side.codes

    def step(self, step: LearningStep) -> BatchQuality:
        """Present the batch, move by its gradients, write what changed."""
        setup, session, settings = self._setup, self._setup.session, self._setup.settings
        self._latent.scale_learning_rates(step.fraction)
        student = setup.student.with_codes(self._latent.codes)._replace(side=session.side)
        self._latent.set_side(student.side)
        meter = QualityMeter(step.batch, student.neuron.steps)
        recordings = session.present(step.batch, settings.observable)
        layers = meter.measure(observed_layers(student, step.batch, recordings))
        for gradients in self._source.gradients(student, step.batch, layers):
            for name, gradient in gradients.items():
                self._latent.set_gradient(name, gradient, trims_only=not step.moves_cells)
                if self._side is not None and step.moves_side:
                    self._side.set_gradient(name, gradient)
        self._latent.step(settings.noise_floor if step.moves_cells else 0.0)
        self._latent.give_up(session.failed)
        session.write(self._latent.update_codes(settings.write_margin, step.cells_max))
        if self._side is not None and step.moves_side:
            self._side.step(step.fraction)
            session.set_side(self._side.codes)
        return meter.quality

    def tensors(self) -> dict[str, Tensor]:
        """Return copies of the latent weights, the codes and Adam's moments."""
        return self._latent.tensors() | ({} if self._side is None else self._side.tensors())

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Continue from what `tensors` returned."""
        self._latent.load(tensors)
        if self._side is not None:
            self._side.load(tensors)


def _side_of(setup: MethodSetup) -> LatentSideWeights | None:
    """Return the side weights to learn; None if the chip has none or they are not to be learned."""
    rank, settings = setup.session.side_rank, setup.settings
    if not rank or StageName.SIDE not in settings.stages:
        return None
    return LatentSideWeights(setup.student, rank, settings.side_step)


def _steps_on(setup: MethodSetup) -> StepSizes:
    """Return the largest steps on this chip: thresholds without trims stay."""
    steps = step_sizes(setup.settings)
    return steps if setup.session.has_threshold_trims else steps._replace(threshold=0.0)


def step_sizes(settings: CalibrationSettings) -> StepSizes:
    """Return the largest steps of weights and trims, in codes."""
    return StepSizes(settings.weight_step, _BIAS * settings.trim_step, settings.trim_step)
