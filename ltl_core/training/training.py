"""A student trained in software, in the codes that chips accept: the golden student."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from ltl_core.chip import LayerCodes
from ltl_core.network.spec import NetworkSpec
from ltl_core.progress import Phase, Progress, Spent
from ltl_core.settings import NeuronSettings, TrainingSettings
from ltl_core.spiking.forward import layer_traces, warm_start
from ltl_core.spiking.gradient import unfold_steps
from ltl_core.spiking.linear import branch_weights, weighted_sums
from ltl_core.student.codes import CodeFormat, as_integers, encode, encode_trim, fit_lsb
from ltl_core.student.student import Student, zero_trims
from ltl_core.teaching.readout import accuracy_of
from ltl_core.teaching.targets import Batch, Targets, evenly_spaced_indices
from ltl_core.training.latent_weights import LatentWeights, LearningRates
from ltl_core.training.trainer import make_trainer

_RANGE_SAMPLES = 256  # enough to set the converters' full scales
_RANGE_CHUNK = 4  # of them at a time
_RANGE_PERCENTILE = 0.999
_RULE = "rule:"  # in front of what a rule keeps in a checkpoint


class TrainingCheckpoint(NamedTuple):
    """All that is needed to go on after an epoch."""

    tensors: dict[str, Tensor]
    epoch: int


class Training:
    """Epochs of one rule over a target set, from the teacher's scaled weights.

    The forward pass uses integer codes; the gradient moves the latent weights behind them.
    """

    def __init__(
        self,
        network: NetworkSpec,
        weights: Mapping[str, Tensor],
        targets: Targets,
        settings: TrainingSettings,
        checkpoint: TrainingCheckpoint | None = None,
    ) -> None:
        self._settings, self._targets = settings, targets
        self._trainer = make_trainer(settings, network)
        self._student = start_student(network, weights, targets, settings.neuron)
        rate = settings.learning_rate
        self._latent = LatentWeights(self._student, LearningRates(rate, rate, 0.0))
        self._epoch = 0
        if checkpoint is not None:
            self._latent.load(checkpoint.tensors)
            kept = checkpoint.tensors.items()
            rule = {n.removeprefix(_RULE): t for n, t in kept if n.startswith(_RULE)}
            self._trainer.load(rule)
            self._epoch = checkpoint.epoch

    def epochs(self) -> Iterator[Progress]:
        """Train; one progress an epoch."""
        steps = self._settings.epochs
        while self._epoch < steps:
            accuracy = self._run_epoch()
            self._epoch += 1
            samples = self._epoch * self._targets.size
            spent = Spent(samples=samples)
            yield Progress(Phase.TRAINING, self._epoch, steps, accuracy=accuracy, spent=spent)

    def checkpoint(self) -> TrainingCheckpoint:
        """The state after the last whole epoch."""
        rule = {f"{_RULE}{name}": tensor for name, tensor in self._trainer.tensors().items()}
        return TrainingCheckpoint(self._latent.tensors() | rule, self._epoch)

    @property
    def student(self) -> Student:
        """What came of it, its converters' ranges set for what it does now."""
        student = self._student.with_codes(self._latent.codes)
        return set_ranges(student, self._targets)

    def _run_epoch(self) -> float:
        generator = torch.Generator().manual_seed(self._settings.seed * 100_003 + self._epoch)
        order = torch.randperm(self._targets.size, generator=generator, device="cpu")
        batches = order.split(self._settings.batch)
        student = self._student.with_codes(self._latent.update_codes())
        done = self._epoch / self._settings.epochs
        self._trainer.begin_epoch(done, student, self._targets.take(batches[0]))
        right = 0.0
        for number, index in enumerate(batches):
            done = self._epoch + number / len(batches)
            self._latent.scale_learning_rates(self._settings.rate_fraction(done))
            right += self._run_batch(self._targets.take(index))
        return right / len(batches)

    def _run_batch(self, batch: Batch) -> float:
        student = self._student.with_codes(self._latent.update_codes())
        result = self._trainer.learn(student, batch)
        for name, gradient in result.gradients.items():
            self._latent.set_gradient(name, gradient)
        self._latent.step()
        return accuracy_of(result.logits, batch.answers)


def start_student(
    network: NetworkSpec,
    weights: Mapping[str, Tensor],
    targets: Targets,
    neuron: NeuronSettings,
) -> Student:
    """The warm start, rounded to codes: each layer's step fits its weights best."""
    form = CodeFormat()
    scaled = warm_start(network, weights, targets.scales, neuron)
    lsb = {m.name: fit_lsb(scaled[f"{m.name}.weight"], form) for m in network.matrices}
    sums = _largest_sums(network, scaled, targets, neuron)
    full_scale = {name: value / lsb[name] for name, value in sums.items()}
    inputs = float(targets.samples.inputs.abs().max())
    gains = {
        name.removesuffix(".gain"): gain.tolist()
        for name, gain in scaled.items()
        if name.endswith(".gain")
    }
    student = Student(network, neuron, form, {}, lsb, full_scale, inputs, gains)
    codes: dict[str, LayerCodes] = {}
    for name in lsb:
        weight = scaled[f"{name}.weight"].flatten(1) / lsb[name]
        bias = scaled[f"{name}.bias"] / (lsb[name] * student.bias_lsb(name))
        codes[name] = LayerCodes(
            as_integers(encode(weight, form)),
            as_integers(encode_trim(bias, form)),
            zero_trims(len(weight)),
        )
    return student.with_codes(codes)


def set_ranges(student: Student, targets: Targets) -> Student:
    """Converter ranges that hold all but the rarest column sums of the hidden layers.

    The readout keeps its own, since the unit of its biases hangs on it.
    """
    sums = _largest_sums(student.network, student.weights(), targets, student.neuron)
    readout = student.network.stages[-1].name
    full_scale = {name: value / student.lsb[name] for name, value in sums.items()}
    full_scale[readout] = student.full_scale[readout]
    return student._replace(full_scale=full_scale)


def _largest_sums(
    network: NetworkSpec, weights: Mapping[str, Tensor], targets: Targets, neuron: NeuronSettings
) -> dict[str, float]:
    """The 99.9th percentile of |column sum| of each layer, without its bias.

    Where nothing reaches a layer yet, its largest weight: a range must not be empty.
    """
    inputs = targets.samples.inputs[evenly_spaced_indices(targets.size, _RANGE_SAMPLES)]
    tails = {layer.name: _Tail(len(inputs)) for layer in network.matrices}
    for some in inputs.split(_RANGE_CHUNK):
        for window in layer_traces(network, weights, some, neuron):
            ways = zip(
                window.stage.branches,
                branch_weights(window.stage, weights),
                window.sources,
                strict=True,
            )
            for branch, weight, source in ways:
                if branch.layer is not None:
                    sums = weighted_sums(unfold_steps(branch, source), weight._replace(bias=None))
                    tails[branch.layer.name].add(sums, len(some))
    return {
        name: tail.percentile or float(weights[f"{name}.weight"].abs().max()) or 1.0
        for name, tail in tails.items()
    }


class _Tail:
    """The largest of all numbers, seen a few samples at a time: as many as a percentile needs."""

    def __init__(self, samples: int) -> None:
        self._samples = samples
        self._kept = torch.empty(0)

    def add(self, numbers: Tensor, samples: int) -> None:
        """What so many samples gave; of each as much."""
        whole = numbers.numel() // samples * self._samples
        most = whole - max(1, round(_RANGE_PERCENTILE * whole)) + 1
        largest = torch.cat((self._kept, _largest(numbers.abs_().flatten(), most)))
        self._kept = _largest(largest, most)

    @property
    def percentile(self) -> float:
        """Exact once all samples were added."""
        return float(self._kept.min())


def _largest(numbers: Tensor, most: int) -> Tensor:
    return numbers.topk(min(most, numbers.numel()), sorted=False).values
