"""From what a chip can show of its layers to the gradient of each.

Forward values are always the measured ones; a model serves for the surrogate's window alone.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from ltl_core.chip import LayerRecording, Observable, Recording
from ltl_core.gradient import Gradient, layer_gradient
from ltl_core.layers import gather
from ltl_core.network import Stage
from ltl_core.neuron import reintegrate
from ltl_core.rules.ltl_offline import LtlOffline
from ltl_core.rules.rule import LayerActivity, Rule
from ltl_core.settings import NeuronSettings
from ltl_core.student import Student, column_sums, over_time
from ltl_core.targets import Batch


class Seen(NamedTuple):
    """One layer of a recording, in the units of the student's weights."""

    stage: Stage
    rows: Float[Tensor, "time batch *input"]
    record: LayerRecording


def observables(student: Student, wanted: Observable) -> dict[str, Observable]:
    """What to ask for: `wanted` of every hidden layer, the running sums of the readout."""
    return {
        stage.name: Observable.MEMBRANE if stage.is_readout else wanted
        for stage in student.network.stages
    }


def seen_layers(student: Student, batch: Batch, recording: Recording) -> list[Seen]:
    """Each layer with the rows it was driven by: the inputs, or the measured spikes below."""
    seen: list[Seen] = []
    values = batch.inputs.unsqueeze(0)
    for stage in student.network.stages:
        record = recording.layers[stage.name]
        rows = over_time(lambda flat, stage=stage: gather(stage, flat), values)  # type: ignore[misc]
        seen.append(Seen(stage, rows, record))
        if not stage.is_readout:
            values = _emitted(record, student.neuron.steps)
    return seen


def measured_gradient(
    seen: Seen, batch: Batch, student: Student, rule: Rule, observable: Observable
) -> Gradient:
    """Of one layer's own loss, in the units of the student's weights."""
    if observable is Observable.COUNTS:
        return _rate_gradient(seen, batch, student)
    if seen.stage.is_readout:
        deltas = rule.readout_deltas(_sums(seen, student), batch.labels, student.neuron)
    else:
        activity = _activity(seen, batch.rates[seen.stage.name], student, observable)
        deltas = rule.deltas(activity, student.neuron)
    return layer_gradient(seen.stage, seen.rows, deltas)


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
    current = column_sums(seen.stage, student.weights(), seen.rows)
    current = current.expand(len(spikes), *current.shape[1:])
    return reintegrate(current, spikes, student.neuron)


def _rate_gradient(seen: Seen, batch: Batch, student: Student) -> Gradient:
    """dW = sum 2/N (r - R) 1{0 < r < 1} count_in^T / T; rows hold count_in / T already."""
    if seen.stage.is_readout:
        final = _sums(seen, student)[-1:] / student.neuron.steps
        return layer_gradient(
            seen.stage, seen.rows, LtlOffline().readout_deltas(final, batch.labels, student.neuron)
        )
    rate, target = measured_rate(seen.record, student.neuron.steps), batch.rates[seen.stage.name]
    active = (rate > 0) & (rate < 1)
    deltas = (rate - target) * active * (2 / target.numel())
    return layer_gradient(seen.stage, seen.rows, deltas.unsqueeze(0))


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
