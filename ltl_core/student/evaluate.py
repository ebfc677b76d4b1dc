"""How good a student or a chip is: accuracy, rate errors and losses on a set of samples."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ltl_core.chip import ChipBackend, LayerRecording, Observable
from ltl_core.student.forward import pack_student
from ltl_core.student.layerwise import layerwise_forward_packed
from ltl_core.student.student import Student
from ltl_core.teaching.readout import accuracy_of, right_of, sample_losses
from ltl_core.teaching.targets import Batch, Targets

_CHUNK = 128  # samples at a time
_STEP = 64  # and where it may be decided after each step that they are enough


class Quality(NamedTuple):
    """Quality of a student or a chip, measured on one set of samples."""

    accuracy: float  # fraction of right classes; of values, the explained fraction of the variance
    rate_error: tuple[float, ...]  # root mean square of r - R, hidden layer by hidden layer
    losses: tuple[float, ...]  # of the readout, sample by sample

    @property
    def loss(self) -> float:
        """Mean loss: cross-entropy in nats, or the squared error if labels are values."""
        return sum(self.losses) / len(self.losses)


Enough = Callable[[Bool[Tensor, " sample"]], bool]  # is told which samples are right so far


class Measurement(NamedTuple):
    """Quality on so many samples, which of them are right, and what was answered to each."""

    quality: Quality
    right: Bool[Tensor, " sample"]
    logits: Float[Tensor, "sample output"]


class _Output(NamedTuple):
    rates: list[Float[Tensor, "batch *_neuron"]]
    logits: Float[Tensor, "batch class"]


def student_quality(student: Student, targets: Targets) -> Quality:
    """Measure the ideal student.

    Raises SettingError if the targets have neither labels nor the teacher's logits.
    """
    packed = pack_student(student)

    def run(batch: Batch) -> _Output:
        result = layerwise_forward_packed(student.network, packed, batch.inputs, student.neuron)
        return _Output(list(result.rates.values()), result.logits)

    return _quality(student, targets, run)


def chip_quality(backend: ChipBackend, student: Student, targets: Targets) -> Quality:
    """Measure a chip that holds the student's network; the chip learns nothing.

    Raises ChipUnavailableError.
    """
    return _quality(student, targets, lambda batch: _measured(backend, student, batch))


def chip_quality_until(
    backend: ChipBackend, student: Student, targets: Targets, enough: Enough
) -> Measurement:
    """Measure a chip on the first samples, a few more until they are `enough`, or on all.

    Raises ChipUnavailableError.
    """
    meter = _Meter(student)
    for batch in targets.batches(_STEP):
        meter.add(batch, _measured(backend, student, batch))
        if enough(meter.right):
            break
    return Measurement(meter.quality, meter.right, meter.logits)


def student_right(student: Student, targets: Targets) -> Bool[Tensor, " sample"]:
    """Tell for each sample whether the ideal student is right.

    Raises SettingError if the targets have neither labels nor the teacher's logits.
    """
    packed = pack_student(student)
    return torch.cat(
        [
            right_of(
                layerwise_forward_packed(
                    student.network, packed, batch.inputs, student.neuron
                ).logits,
                batch.expected,
            )
            for batch in targets.batches(_CHUNK)
        ]
    )


def chip_logits(
    backend: ChipBackend, student: Student, inputs: Float[Tensor, "batch *shape"]
) -> Float[Tensor, "batch output"]:
    """Return the logits of a chip that holds the student's network; the chip learns nothing.

    Raises ChipUnavailableError.
    """
    readout, steps = student.network.stages[-1].name, student.neuron.steps
    recording = backend.run(student.stimulus(inputs), {readout: Observable.MEMBRANE})
    sums = recorded(recording.layers[readout], "membrane")[-1]
    return sums * (student.lsb[readout] / steps)


def chip_responses(
    backend: ChipBackend, student: Student, inputs: Float[Tensor, "batch *shape"]
) -> dict[str, Float[Tensor, "batch *_neuron"]]:
    """Return the rates of a chip's hidden stages and, of the readout, its logits, by stage.

    The chip holds the student's network; it learns nothing. Raises ChipUnavailableError.
    """
    *hidden, readout = student.network.stages
    record = {stage.name: Observable.COUNTS for stage in hidden}
    record[readout.name] = Observable.MEMBRANE
    steps = student.neuron.steps
    layers = backend.run(student.stimulus(inputs), record).layers
    found = {stage.name: recorded(layers[stage.name], "counts") / steps for stage in hidden}
    sums = recorded(layers[readout.name], "membrane")[-1]
    return found | {readout.name: sums * (student.lsb[readout.name] / steps)}


def recorded(record: LayerRecording, field: str) -> Tensor:
    """Return one field of a recording. Raises ValueError if the driver left it out."""
    value: Tensor | None = getattr(record, field)
    if value is None:
        raise ValueError(
            f"The chip's driver returned no {field} of a layer, although they were asked for: "
            "it has to return what `ChipBackend.run` promises for each observable."
        )
    return value


def _measured(backend: ChipBackend, student: Student, batch: Batch) -> _Output:
    *rates, logits = chip_responses(backend, student, batch.inputs).values()
    return _Output(rates, logits)


def _quality(student: Student, targets: Targets, run: Callable[[Batch], _Output]) -> Quality:
    meter = _Meter(student)
    for batch in targets.batches(_CHUNK):
        meter.add(batch, run(batch))
    return meter.quality


class _Meter:
    """Adds up what is measured batch by batch."""

    def __init__(self, student: Student) -> None:
        self._names = [stage.name for stage in student.network.stages if not stage.is_readout]
        self._squared = torch.zeros(len(self._names))
        self._hits, self._losses = 0.0, list[float]()
        self._right: list[Tensor] = []
        self._logits: list[Tensor] = []

    def add(self, batch: Batch, output: _Output) -> None:
        """Take in one more batch."""
        expected = batch.expected
        for index, (name, rate) in enumerate(zip(self._names, output.rates, strict=True)):
            self._squared[index] += (rate - batch.rates[name]).square().mean() * batch.size
        self._hits += accuracy_of(output.logits, expected) * batch.size
        self._losses += sample_losses(output.logits, expected).tolist()
        self._right.append(right_of(output.logits, expected))
        self._logits.append(output.logits)

    @property
    def quality(self) -> Quality:
        """Quality on all batches so far."""
        samples = len(self._losses)
        error = tuple(float(value) for value in (self._squared / samples).sqrt())
        return Quality(self._hits / samples, error, tuple(self._losses))

    @property
    def right(self) -> Bool[Tensor, " sample"]:
        """Which of the samples so far are right."""
        return torch.cat(self._right)

    @property
    def logits(self) -> Float[Tensor, "sample output"]:
        """Logits of all batches so far."""
        return torch.cat(self._logits)
