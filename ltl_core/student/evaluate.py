"""How good a student or a chip is: accuracy, rate errors and losses on a set of samples."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from ltl_core.chip import ChipBackend, LayerRecording, Observable
from ltl_core.student.forward import pack_student
from ltl_core.student.layerwise import layerwise_forward_packed
from ltl_core.student.student import Student
from ltl_core.teaching.readout import accuracy_of, sample_losses
from ltl_core.teaching.targets import Batch, Targets

_CHUNK = 128  # samples at a time


class Quality(NamedTuple):
    """Quality of a student or a chip, measured on one set of samples."""

    accuracy: float  # fraction of right classes; of values, the explained fraction of the variance
    rate_error: tuple[float, ...]  # root mean square of r - R, hidden layer by hidden layer
    losses: tuple[float, ...]  # of the readout, sample by sample

    @property
    def loss(self) -> float:
        """Mean loss: cross-entropy in nats, or the squared error if labels are values."""
        return sum(self.losses) / len(self.losses)


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
    *hidden, readout = student.network.stages
    record = {stage.name: Observable.COUNTS for stage in hidden}
    record[readout.name] = Observable.MEMBRANE
    steps = student.neuron.steps
    recording = backend.run(student.stimulus(batch.inputs), record)
    layers = recording.layers
    rates = [recorded(layers[stage.name], "counts").float() / steps for stage in hidden]
    sums = recorded(layers[readout.name], "membrane")[-1]
    return _Output(rates, sums * (student.lsb[readout.name] / steps))


def _quality(student: Student, targets: Targets, run: Callable[[Batch], _Output]) -> Quality:
    names = [stage.name for stage in student.network.stages if not stage.is_readout]
    squared, hits, samples = torch.zeros(len(names)), 0.0, 0
    losses: list[float] = []
    for batch in targets.batches(_CHUNK):
        output, size, expected = run(batch), batch.size, batch.expected
        for index, (name, rate) in enumerate(zip(names, output.rates, strict=True)):
            squared[index] += (rate - batch.rates[name]).square().mean() * size
        hits += accuracy_of(output.logits, expected) * size
        losses += sample_losses(output.logits, expected).tolist()
        samples += size
    error = tuple(float(value) for value in (squared / samples).sqrt())
    return Quality(hits / samples, error, tuple(losses))
