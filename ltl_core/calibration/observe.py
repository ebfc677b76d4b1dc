"""From what a chip can show of its layers to the gradient of each.

Forward values are always the measured ones; a model serves for the surrogate's window alone.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from ltl_core.chip import LayerRecording, Observable
from ltl_core.network.stages import Stage
from ltl_core.rules.ltl_offline import LtlOffline
from ltl_core.rules.rule import LayerActivity, Rule
from ltl_core.settings import NeuronSettings
from ltl_core.spiking.forward import stage_sums
from ltl_core.spiking.gradient import Gradient, stage_gradient
from ltl_core.spiking.neuron import reintegrate
from ltl_core.student.student import Student
from ltl_core.teaching.targets import Batch


class Seen(NamedTuple):
    """One layer of a recording, in the units of the student's weights."""

    stage: Stage
    sources: tuple[Float[Tensor, "_time batch *_source"], ...]
    record: LayerRecording


def observables(student: Student, wanted: Observable) -> dict[str, Observable]:
    """What to ask for: `wanted` of every hidden layer, the running sums of the readout."""
    return {
        stage.name: Observable.MEMBRANE if stage.is_readout else wanted
        for stage in student.network.stages
    }


def seen_layers(
    student: Student, batch: Batch, shown: Iterable[tuple[str, LayerRecording]]
) -> Iterator[Seen]:
    """Each layer with what it was driven by: the inputs, or the measured spikes below.

    Layers are `shown` in the order of the network, and seen as they come: what a layer has to
    learn depends on none above it.
    """
    stages = {stage.name: stage for stage in student.network.stages}
    emitted: dict[str | None, Tensor] = {None: batch.inputs.unsqueeze(0)}
    for layer, record in shown:
        stage = stages[layer]
        yield Seen(stage, tuple(emitted[branch.source] for branch in stage.branches), record)
        if not stage.is_readout:
            emitted[layer] = _emitted(record, student.neuron.steps)


def measured_gradient(
    seen: Seen, batch: Batch, student: Student, rule: Rule, observable: Observable
) -> dict[str, Gradient]:
    """Of one layer's own loss, matrix by matrix, in the units of the student's weights."""
    if observable is Observable.COUNTS:
        return _rate_gradient(seen, batch, student)
    if seen.stage.is_readout:
        deltas = rule.readout_deltas(_sums(seen, student), batch.readout_loss(), student.neuron)
    else:
        activity = _activity(seen, batch.rates[seen.stage.name], student, observable)
        deltas = rule.deltas(activity, student.neuron)
    return stage_gradient(seen.stage, seen.sources, deltas)


def measured_rate(record: LayerRecording, steps: int) -> Float[Tensor, "batch *neuron"]:
    """Spikes a step."""
    if record.counts is not None:
        return record.counts.float() / steps
    return _present(record.spikes).float().mean(0)


def _activity(
    seen: Seen, target: Tensor, student: Student, observable: Observable
) -> LayerActivity:
    spikes = _present(seen.record.spikes).float()
    neuron, lsb = student.neuron, student.lsb[seen.stage.name]
    if observable is Observable.WINDOW:
        return LayerActivity(spikes, _present(seen.record.window).float(), None, target)
    if observable is Observable.MEMBRANE:
        membrane = _present(seen.record.membrane) * lsb
    else:
        membrane = _modelled_membrane(seen, spikes, student)
    return LayerActivity(spikes, _window(membrane, neuron), membrane, target)


def _modelled_membrane(seen: Seen, spikes: Tensor, student: Student) -> Tensor:
    current = stage_sums(seen.stage, student.weights(), seen.sources)
    current = current.expand(len(spikes), *current.shape[1:])
    return reintegrate(current, spikes, student.neuron)


def _rate_gradient(seen: Seen, batch: Batch, student: Student) -> dict[str, Gradient]:
    """dW = sum 2/N (r - R) 1{0 < r < 1} count_in^T / T; sources hold count_in / T already."""
    if seen.stage.is_readout:
        final = _sums(seen, student)[-1:] / student.neuron.steps
        return stage_gradient(
            seen.stage,
            seen.sources,
            LtlOffline().readout_deltas(final, batch.readout_loss(), student.neuron),
        )
    rate, target = measured_rate(seen.record, student.neuron.steps), batch.rates[seen.stage.name]
    active = (rate > 0) & (rate < 1)
    deltas = (rate - target) * active * (2 / target.numel())
    return stage_gradient(seen.stage, seen.sources, deltas.unsqueeze(0))


def _emitted(record: LayerRecording, steps: int) -> Float[Tensor, "time batch *neuron"]:
    """Spikes of every step, or, where only counts were seen, their mean as one step."""
    if record.spikes is not None:
        return record.spikes.float()
    return (_present(record.counts).float() / steps).unsqueeze(0)


def _sums(seen: Seen, student: Student) -> Float[Tensor, "time batch class"]:
    return _present(seen.record.membrane) * student.lsb[seen.stage.name]


def _window(membrane: Tensor, neuron: NeuronSettings) -> Tensor:
    return ((membrane - neuron.threshold).abs() < neuron.surrogate_width).to(torch.float32)


def _present(value: Tensor | None) -> Tensor:
    if value is None:
        raise ValueError("The chip did not return an observable that it was asked for.")
    return value
