"""What methods without gradients share: all trims as one vector, and the loss of a batch."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from ltl_core.calibration.methods.method import (
    BatchQuality,
    MethodSetup,
    QualityMeter,
    measured_logits,
)
from ltl_core.calibration.observe import ObservedLayer, measured_rate, observed_layers
from ltl_core.chip import LayerCodes
from ltl_core.student.codes import as_integers, encode_trim
from ltl_core.student.student import Student
from ltl_core.teaching.targets import Batch


class MeasuredLoss(NamedTuple):
    """Loss of a batch on the chip, and how good the chip was on it."""

    loss: float
    quality: BatchQuality


class TrimVector:
    """The trims of a student as one vector: biases of all columns, thresholds of hidden ones.

    A readout has no threshold. The weights stay as they are.
    """

    def __init__(self, student: Student, *, has_thresholds: bool = True) -> None:
        """Take weights and trims of the student; `has_thresholds` tells whether these have some."""
        self._student = student
        columns = [len(student.codes[layer.name].bias) for layer in student.network.matrices]
        self._names = [layer.name for layer in student.network.matrices]
        self._columns = dict(zip(self._names, columns, strict=True))
        readout = student.network.stages[-1].name
        self._hidden = [name for name in self._names if has_thresholds and name != readout]

    @property
    def start(self) -> Float[Tensor, " trim"]:
        """The student's own trims, trim codes."""
        codes = self._student.codes
        parts = [codes[name].bias for name in self._names]
        parts += [codes[name].threshold for name in self._hidden]
        return torch.cat(parts).float()

    def clipped(self, trims: Float[Tensor, " trim"]) -> Float[Tensor, " trim"]:
        """Return the trims within the range of the codes."""
        form = self._student.format
        return trims.clamp(form.trim_min, form.trim_max)

    def codes(self, trims: Float[Tensor, " trim"]) -> dict[str, LayerCodes]:
        """Return the student's codes with these trims, rounded and within their range."""
        codes = as_integers(encode_trim(trims, self._student.format))
        parts = iter(codes.split([self._columns[name] for name in (*self._names, *self._hidden)]))
        biases = {name: next(parts) for name in self._names}
        thresholds = {name: next(parts) for name in self._hidden}
        return {
            name: old._replace(bias=biases[name], threshold=thresholds.get(name, old.threshold))
            for name, old in self._student.codes.items()
        }


class TrimSearch:
    """A search over trims by measured losses alone: sets trims, and measures what they bring."""

    def __init__(self, setup: MethodSetup) -> None:
        """Start at the trims of the setup's student."""
        has_thresholds = setup.session.has_threshold_trims
        self._setup = setup
        self._vector = TrimVector(setup.student, has_thresholds=has_thresholds)
        self.trims = self._vector.start

    @property
    def codes(self) -> dict[str, LayerCodes]:
        """The student's codes with the trims of now."""
        return self._vector.codes(self.trims)

    def set(self, trims: Float[Tensor, " trim"]) -> None:
        """Set the trims on the chip, within the range of the codes. Raises what the chip raises."""
        self.trims = self._vector.clipped(trims)
        self._setup.session.write(self.codes)

    def measure(self, trims: Float[Tensor, " trim"], batch: Batch) -> MeasuredLoss:
        """Present a batch with other trims, and return the sum of the losses that LTL lowers.

        It is the readout's loss + sum_l mean_{batch, neurons} (r_l - R_l)^2, with measured rates r
        and target rates R. The chip keeps these trims. Raises what the chip raises.
        """
        session, settings, student = self._setup.session, self._setup.settings, self._setup.student
        session.write(self._vector.codes(trims))
        meter = QualityMeter(batch, student.neuron.steps)
        recordings = session.present(batch, settings.observable)
        layers = meter.measure(observed_layers(student, batch, recordings))
        total = sum(self._loss(layer, batch) for layer in layers)
        return MeasuredLoss(total, meter.quality)

    def _loss(self, layer: ObservedLayer, batch: Batch) -> float:
        """Return the loss of one layer."""
        student = self._setup.student
        if layer.stage.is_readout:
            loss = batch.readout_loss(self._setup.readout)
            return float(loss.value(measured_logits(layer, student)))
        rate = measured_rate(layer.record, student.neuron.steps)
        return float((rate - batch.rates[layer.stage.name]).square().mean())


def generator_of(setup: MethodSetup, step: int) -> torch.Generator:
    """Return the source of a step's random choices, alike whenever the step is done."""
    return torch.Generator().manual_seed(setup.settings.seed * 1_000_003 + step)
