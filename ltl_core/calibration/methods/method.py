"""The interface of a calibration method: how a chip is corrected, one batch a step.

The loop chooses the samples, keeps the budget, verifies and rolls back, whatever the method.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple, Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor

from ltl_core.calibration.chip_session import ChipSession
from ltl_core.calibration.observe import ObservedLayer, measured_rate
from ltl_core.chip import LayerCodes, SideWeights
from ltl_core.progress import LayerRate
from ltl_core.settings import CalibrationSettings, Readout
from ltl_core.student.evaluate import recorded
from ltl_core.student.student import Student
from ltl_core.teaching.readout import accuracy_of
from ltl_core.teaching.targets import Batch


class MethodSetup(NamedTuple):
    """What a method works with."""

    golden: Student
    student: Student  # the same, with the codes that the chip begins with
    session: ChipSession
    settings: CalibrationSettings
    readout: Readout  # what the readout learns


class LearningStep(NamedTuple):
    """One step: the samples to present, and what it may move."""

    number: int  # from 0; with the seed of the settings it decides every random choice
    batch: Batch
    fraction: float  # of the step sizes, from 1 falling to 0
    moves_cells: bool  # if not, trims alone move
    cells_max: int | None = None  # that it may write; None if any number
    moves_side: bool = False  # whether digital side weights move too


class BatchQuality(NamedTuple):
    """How good the chip was on the batch of one step."""

    accuracy: float
    rate_error: tuple[float, ...]  # root mean square, hidden layer by hidden layer
    rates: tuple[LayerRate, ...]  # the same layers


@runtime_checkable
class Method(Protocol):
    """A method of calibration.

    All its state is in `tensors`, so that a calibration goes on as if it had never stopped.
    """

    @property
    def codes(self) -> dict[str, LayerCodes]:
        """The codes that the chip is to hold after the last step."""
        ...

    def step(self, step: LearningStep) -> BatchQuality:
        """Present the batch, correct the chip, write what changed. Raises what the chip raises."""
        ...

    def tensors(self) -> dict[str, Tensor]:
        """Return copies of the state, for a checkpoint."""
        ...

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Continue from what `tensors` returned."""
        ...


@runtime_checkable
class SideMethod(Protocol):
    """A method that also moves the digital side weights of a chip that has them."""

    @property
    def side(self) -> Mapping[str, SideWeights]:
        """The side weights that the chip is to hold after the last step, by layer."""
        ...


class QualityMeter:
    """Measures how good the chip was on a batch, from the layers that pass through it."""

    def __init__(self, batch: Batch, steps: int) -> None:
        """`steps` is the number of steps of the time window."""
        self._batch, self._steps = batch, steps
        self._errors: list[float] = []
        self._rates: list[LayerRate] = []
        self._accuracy = 0.0

    def measure(self, layers: Iterable[ObservedLayer]) -> Iterator[ObservedLayer]:
        """Yield the layers as they come, and measure each."""
        for layer in layers:
            if layer.stage.is_readout:
                sums = recorded(layer.record, "membrane")[-1]
                self._accuracy = accuracy_of(sums, self._batch.expected)
            else:
                self._add(layer)
            yield layer

    @property
    def quality(self) -> BatchQuality:
        """How good the chip was on the layers that have passed so far."""
        return BatchQuality(self._accuracy, tuple(self._errors), tuple(self._rates))

    def _add(self, layer: ObservedLayer) -> None:
        """Add the rates of a hidden layer, and the root mean square of measured - target."""
        rate, target = measured_rate(layer.record, self._steps), self._batch.rates[layer.stage.name]
        self._errors.append(float((rate - target).square().mean().sqrt()))
        self._rates.append(LayerRate(float(rate.mean()), float(target.mean())))


def measured_logits(readout: ObservedLayer, student: Student) -> Float[Tensor, "batch output"]:
    """Return the logits of the batch: the readout's last sum, a step, in units of the weights."""
    sums = recorded(readout.record, "membrane")[-1]
    return sums * (student.lsb[readout.stage.name] / student.neuron.steps)
