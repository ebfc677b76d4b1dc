"""From what a chip records of its layers to the gradient of each.

Forward values are always the measured ones. A local rule needs the window of the surrogate only
where the chip shows it, or its membranes. From spikes alone it would have to be modelled, and the
model is wrong on neurons that are all different: so spikes teach what their counts teach. A model
of the membranes serves the gradient through the whole network, which cannot do without.
"""

from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from ltl_core.chip import LayerRecording, Observable
from ltl_core.network.stages import Stage
from ltl_core.rules.rule import LayerActivity, Rule
from ltl_core.settings import NeuronSettings, Readout
from ltl_core.spiking.forward import Weights, stage_sums
from ltl_core.spiking.gradient import Gradient, stage_gradient
from ltl_core.spiking.inputs import as_frames
from ltl_core.spiking.neuron import reintegrate
from ltl_core.student.evaluate import recorded
from ltl_core.student.student import Student
from ltl_core.teaching.targets import Batch

_RATES_ALONE = (Observable.COUNTS, Observable.SPIKES)  # a local rule has no window from these


class ObservedLayer(NamedTuple):
    """The recording of one layer of a chip, with the measured activity that drove it."""

    stage: Stage
    # Spikes a step of what each branch reads, 0 or 1; rates of one step if only counts are known.
    sources: tuple[Float[Tensor, "_time batch *_source"], ...]
    record: LayerRecording  # sums and membranes in code units


def observables(student: Student, wanted: Observable) -> dict[str, Observable]:
    """Return what a chip has to record, by layer: `wanted` of hidden ones, sums of the readout.

    The readout's observable is MEMBRANE, which for it is the running sum after every step.
    """
    return {
        stage.name: Observable.MEMBRANE if stage.is_readout else wanted
        for stage in student.network.stages
    }


def observed_layers(
    student: Student, batch: Batch, recordings: Iterable[tuple[str, LayerRecording]]
) -> Iterator[ObservedLayer]:
    """Yield each layer with what drove it: the inputs, or the measured spikes of the layers below.

    The recordings, by the layer's name, come in the order of the network. Each is used as soon as
    it is there, because what a layer has to learn depends on no layer above it. Raises KeyError for
    a layer that the network does not have or whose sources were not recorded before it, and
    ValueError for a hidden layer without spikes and without counts.
    """
    stages = {stage.name: stage for stage in student.network.stages}
    frames = as_frames(student.network, batch.inputs, student.neuron.steps)
    activity: dict[str | None, Tensor] = {None: frames}
    for name, record in recordings:
        stage = stages[name]
        yield ObservedLayer(stage, tuple(activity[b.source] for b in stage.branches), record)
        if not stage.is_readout:
            activity[name] = _activity_of(record, student.neuron.steps)


class MeasuredActivity:
    """The activity of hidden layers that a chip recorded, in the units of the student's weights."""

    def __init__(self, student: Student, observable: Observable) -> None:
        """`observable` is what was recorded of every hidden layer; COUNTS do not suffice."""
        self._student, self._observable = student, observable

    def of(self, layer: ObservedLayer, target: Float[Tensor, "batch *neuron"]) -> LayerActivity:
        """Return the activity of one hidden layer, with the rates in [0, 1] that it should have.

        Membranes are in units of the student's threshold; where neither window nor membrane was
        recorded, they are modelled from the student's weights. Raises ValueError if the recording
        lacks what the observable names.
        """
        spikes = recorded(layer.record, "spikes").float()
        if self._observable is Observable.WINDOW:
            return LayerActivity(spikes, recorded(layer.record, "window").float(), None, target)
        if self._observable is Observable.MEMBRANE:
            membrane = recorded(layer.record, "membrane") * self._student.lsb[layer.stage.name]
        else:
            membrane = self._modelled_membrane(layer, spikes)
        return LayerActivity(spikes, _window(membrane, self._student.neuron), membrane, target)

    @cached_property
    def _weights(self) -> Weights:
        """The student's weights, computed once for all layers."""
        return self._student.weights()

    def _modelled_membrane(self, layer: ObservedLayer, spikes: Tensor) -> Tensor:
        current = stage_sums(layer.stage, self._weights, layer.sources)
        current = current.expand(len(spikes), *current.shape[1:])
        return reintegrate(current, spikes, self._student.neuron)


class MeasuredGradients:
    """The gradients that a local rule draws from what a chip recorded of one batch."""

    def __init__(
        self,
        student: Student,
        batch: Batch,
        rule: Rule,
        observable: Observable,
        readout: Readout = Readout.LABELS,
    ) -> None:
        """`observable` is what was recorded of every hidden layer."""
        self._student, self._batch = student, batch
        self._rule, self._observable = rule, observable
        self._activity = MeasuredActivity(student, observable)
        self._loss = batch.readout_loss(readout)

    def of(self, layer: ObservedLayer) -> dict[str, Gradient]:
        """Return the gradients of one layer's own loss, matrix by matrix.

        The keys are the names of the layer's matrices; weights have the shape (column, row), biases
        (column), both in the units of the student's weights. Raises ValueError if the recording
        lacks what the observable names, and KeyError if the batch has no rates of the layer.
        """
        if layer.stage.is_readout:
            return stage_gradient(layer.stage, layer.sources, self._readout_deltas(layer))
        if self._observable in _RATES_ALONE:
            rates = [source.mean(0, keepdim=True) for source in layer.sources]
            return stage_gradient(layer.stage, rates, self._rate_deltas(layer))
        activity = self._activity.of(layer, self._batch.rates[layer.stage.name])
        deltas = self._rule.deltas(activity, self._student.neuron)
        return stage_gradient(layer.stage, layer.sources, deltas)

    def _readout_deltas(self, layer: ObservedLayer) -> Float[Tensor, "learning_time batch output"]:
        """Return the deltas that the rule draws from the running sums, which every chip records.

        If only counts were recorded below, the mean rate stands for the spikes of every step.
        """
        sums = recorded(layer.record, "membrane") * self._student.lsb[layer.stage.name]
        return self._rule.readout_deltas(sums, self._loss, self._student.neuron)

    def _rate_deltas(self, layer: ObservedLayer) -> Float[Tensor, "one batch *neuron"]:
        """2/N (r - R): without a window no rule can tell one step from another.

        A neuron that never fires but should, or always fires but should not, learns too: the
        window of the surrogate would leave it as it is.
        """
        rate = measured_rate(layer.record, self._student.neuron.steps)
        target = self._batch.rates[layer.stage.name]
        return ((rate - target) * (2 / target.numel())).unsqueeze(0)


def measured_rate(record: LayerRecording, steps: int) -> Float[Tensor, "batch *neuron"]:
    """Return the rate of every neuron in [0, 1]: its spikes divided by the time steps.

    It comes from the counts of a recording or, without them, from its spikes. Raises ValueError if
    the recording holds neither.
    """
    if record.counts is not None:
        return record.counts.float() / steps
    return recorded(record, "spikes").float().mean(0)


def _activity_of(record: LayerRecording, steps: int) -> Float[Tensor, "time batch *neuron"]:
    """Return the spikes of every step or, if only counts were recorded, the rate as one step."""
    if record.spikes is not None:
        return record.spikes.float()
    return (recorded(record, "counts").float() / steps).unsqueeze(0)


def _window(membrane: Tensor, neuron: NeuronSettings) -> Tensor:
    return ((membrane - neuron.threshold).abs() < neuron.surrogate_width).to(torch.float32)
