"""How good is it? Accuracy and rate errors, of the ideal student and of a chip."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from ltl_core.chip import ChipBackend, Observable, Stimulus
from ltl_core.student.student import Student, layerwise_forward_student
from ltl_core.teaching.readout import accuracy_of, sample_losses
from ltl_core.teaching.targets import Batch, Targets

_CHUNK = 128  # samples at a time


class Quality(NamedTuple):
    """Of a student or a chip, on one set of samples."""

    accuracy: float
    rate_error: tuple[float, ...]  # root mean square of r - R, hidden layer by hidden layer
    losses: tuple[float, ...]  # of the readout, sample by sample

    @property
    def loss(self) -> float:
        """Their mean: cross-entropy, or squared error where labels are values."""
        return sum(self.losses) / len(self.losses)


class _Answer(NamedTuple):
    rates: list[Float[Tensor, "batch *_neuron"]]
    logits: Float[Tensor, "batch class"]


def student_quality(student: Student, targets: Targets) -> Quality:
    """Of the ideal student."""
    return _quality(student, targets, lambda batch: _ideal(student, batch))


def chip_quality(backend: ChipBackend, student: Student, targets: Targets) -> Quality:
    """Of a chip on which the student stands; it learns nothing from being measured."""
    return _quality(student, targets, lambda batch: _measured(backend, student, batch))


def _ideal(student: Student, batch: Batch) -> _Answer:
    result = layerwise_forward_student(student, batch.inputs)
    return _Answer(list(result.rates.values()), result.logits)


def _measured(backend: ChipBackend, student: Student, batch: Batch) -> _Answer:
    *hidden, readout = student.network.stages
    record = {stage.name: Observable.COUNTS for stage in hidden}
    record[readout.name] = Observable.MEMBRANE
    steps = student.neuron.steps
    recording = backend.run(Stimulus(batch.inputs, steps), record)
    rates = [_present(recording.layers[stage.name].counts).float() / steps for stage in hidden]
    sums = _present(recording.layers[readout.name].membrane)[-1]
    return _Answer(rates, sums * (student.lsb[readout.name] / steps))


def _quality(student: Student, targets: Targets, ask: Callable[[Batch], _Answer]) -> Quality:
    names = [stage.name for stage in student.network.stages if not stage.is_readout]
    squared, hits, samples = torch.zeros(len(names)), 0.0, 0
    losses: list[float] = []
    for batch in targets.batches(_CHUNK):
        answer, size, wanted = ask(batch), batch.size, batch.answers
        for place, (name, rate) in enumerate(zip(names, answer.rates, strict=True)):
            squared[place] += (rate - batch.rates[name]).square().mean() * size
        hits += accuracy_of(answer.logits, wanted) * size
        losses += sample_losses(answer.logits, wanted).tolist()
        samples += size
    error = tuple(float(value) for value in (squared / samples).sqrt())
    return Quality(hits / samples, error, tuple(losses))


def _present(value: Tensor | None) -> Tensor:
    if value is None:
        raise ValueError("The chip did not return an observable that it was asked for.")
    return value
