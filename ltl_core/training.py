"""A student trained in software, in the codes that chips accept: the golden student."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from ltl_core.codes import CodeFormat, as_integers, encode, encode_trim, fit_lsb
from ltl_core.evaluate import correct
from ltl_core.gradient import Gradient, layer_gradient
from ltl_core.network import NetworkSpec
from ltl_core.progress import Phase, Progress, Spent
from ltl_core.rules.rule import LayerActivity
from ltl_core.rules.select import select_rule
from ltl_core.settings import NeuronSettings, TrainingSettings
from ltl_core.shadow import Rates, Shadow
from ltl_core.student import (
    LayerCodes,
    Student,
    Window,
    column_sums,
    warm_start,
    windows,
    zero_trims,
)
from ltl_core.targets import Batch, TargetSet

_RANGE_SAMPLES = 256  # enough to set the converters' full scales
_RANGE_PERCENTILE = 0.999


class TrainingCheckpoint(NamedTuple):
    """All that is needed to go on after an epoch."""

    tensors: dict[str, Tensor]
    epoch: int


class Training:
    """Epochs of one rule over a target set, from the teacher's scaled weights.

    The forward pass uses integer codes; the gradient moves a float shadow of them.
    """

    def __init__(
        self,
        network: NetworkSpec,
        weights: Mapping[str, Tensor],
        targets: TargetSet,
        settings: TrainingSettings,
        checkpoint: TrainingCheckpoint | None = None,
    ) -> None:
        self._settings, self._targets = settings, targets
        self._rule = select_rule(settings.rule)
        self._student = start_student(network, weights, targets, settings.neuron)
        rate = settings.learning_rate
        self._shadow = Shadow(self._student, Rates(rate, rate, 0.0))
        self._epoch = 0
        if checkpoint is not None:
            self._shadow.load(checkpoint.tensors)
            self._epoch = checkpoint.epoch

    def epochs(self) -> Iterator[Progress]:
        """Train; one progress an epoch."""
        steps = self._settings.epochs
        while self._epoch < steps:
            self._shadow.scale_rates(1 - self._epoch / steps)
            accuracy = self._run_epoch()
            self._epoch += 1
            samples = self._epoch * self._targets.size
            spent = Spent(samples=samples)
            yield Progress(Phase.TRAINING, self._epoch, steps, accuracy=accuracy, spent=spent)

    def checkpoint(self) -> TrainingCheckpoint:
        """The state after the last whole epoch."""
        return TrainingCheckpoint(self._shadow.tensors(), self._epoch)

    @property
    def student(self) -> Student:
        """What came of it, its converters' ranges set for what it does now."""
        student = self._student.with_codes(self._shadow.emitted)
        return set_ranges(student, self._targets)

    def _run_epoch(self) -> float:
        generator = torch.Generator().manual_seed(self._settings.seed * 100_003 + self._epoch)
        order = torch.randperm(self._targets.size, generator=generator)
        batches = order.split(self._settings.batch)
        return sum(self._run_batch(self._targets.take(index)) for index in batches) / len(batches)

    def _run_batch(self, batch: Batch) -> float:
        neuron, student = self._settings.neuron, self._student.with_codes(self._shadow.emit())
        accuracy = 0.0
        for window in windows(student.network, student.weights(), batch.inputs, neuron):
            self._shadow.hold(window.stage, self._gradient(window, batch))
            if window.spikes is None:
                accuracy = correct(window.membrane[-1], batch.labels)
        self._shadow.step()
        return accuracy

    def _gradient(self, window: Window, batch: Batch) -> Gradient:
        neuron = self._settings.neuron
        if window.spikes is None:
            deltas = self._rule.readout_deltas(window.membrane, batch.labels, neuron)
        else:
            near = (window.membrane - neuron.threshold).abs_() < neuron.surrogate_width
            target = batch.rates[window.stage.name]
            activity = LayerActivity(window.spikes, near.float(), window.membrane, target)
            deltas = self._rule.deltas(activity, neuron)
        return layer_gradient(window.stage, window.rows, deltas)


def start_student(
    network: NetworkSpec,
    weights: Mapping[str, Tensor],
    targets: TargetSet,
    neuron: NeuronSettings,
) -> Student:
    """The warm start, rounded to codes: each layer's step fits its weights best."""
    form = CodeFormat()
    scaled = warm_start(network, weights, targets.scales, neuron)
    lsb = {s.name: fit_lsb(scaled[f"{s.name}.weight"], form) for s in network.stages}
    sums = _largest_sums(network, scaled, targets, neuron)
    full_scale = {name: value / lsb[name] for name, value in sums.items()}
    inputs = float(targets.samples.inputs.abs().max())
    student = Student(network, neuron, form, {}, lsb, full_scale, inputs)
    codes: dict[str, LayerCodes] = {}
    for stage in network.stages:
        weight = scaled[f"{stage.name}.weight"].flatten(1) / lsb[stage.name]
        bias = scaled[f"{stage.name}.bias"] / (lsb[stage.name] * student.bias_lsb(stage))
        codes[stage.name] = LayerCodes(
            as_integers(encode(weight, form)),
            as_integers(encode_trim(bias, form)),
            zero_trims(stage.columns),
        )
    return student.with_codes(codes)


def set_ranges(student: Student, targets: TargetSet) -> Student:
    """Converter ranges that hold all but the rarest column sums of the hidden layers.

    The readout keeps its own, since the unit of its biases hangs on it.
    """
    sums = _largest_sums(student.network, student.weights(), targets, student.neuron)
    readout = student.network.stages[-1].name
    full_scale = {name: value / student.lsb[name] for name, value in sums.items()}
    full_scale[readout] = student.full_scale[readout]
    return student._replace(full_scale=full_scale)


def _largest_sums(
    network: NetworkSpec, weights: Mapping[str, Tensor], targets: TargetSet, neuron: NeuronSettings
) -> dict[str, float]:
    """The 99.9th percentile of |column sum| of each layer, without its bias."""
    inputs = targets.samples.inputs[:_RANGE_SAMPLES]
    largest: dict[str, float] = {}
    bare = {n: w if n.endswith("weight") else torch.zeros_like(w) for n, w in weights.items()}
    for window in windows(network, weights, inputs, neuron):
        sums = column_sums(window.stage, bare, window.rows).abs().flatten()
        rank = max(1, round(_RANGE_PERCENTILE * sums.numel()))
        largest[window.stage.name] = float(sums.kthvalue(rank).values)
    return largest
