"""Target rates: how often the teacher asks every neuron to fire for every sample, in eight bits."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from ltl_core.errors import CorruptTensorsError, SettingError
from ltl_core.packing import pack, unpack, unpack_file
from ltl_core.settings import Readout
from ltl_core.teaching.readout import (
    LabelCrossEntropy,
    ReadoutLoss,
    SquaredError,
    TeacherCrossEntropy,
)

_RATE_LEVELS = 255  # with 16 steps a rate has 17 levels: eight bits lose nothing


def evenly_spaced_indices(size: int, count: int) -> Int[Tensor, " kept"]:
    """Return the indices of `count` of `size` samples, evenly spaced, or of all if there are fewer.

    Data are often sorted by class, so the first `count` would miss classes.
    """
    count = min(size, count)
    return torch.arange(count, device="cpu") * size // max(count, 1)


class Samples(NamedTuple):
    """Inputs with their classes, with the values that a regression should give, or without labels.

    An input is an image, or a sequence of images with a frame a time step.
    """

    inputs: Float[Tensor, "sample *shape"]
    labels: Int[Tensor, " sample"] | Float[Tensor, "sample output"] | None

    def take(self, index: Int[Tensor, " kept"] | slice) -> "Samples":
        """Return the samples at these indices."""
        return Samples(self.inputs[index], None if self.labels is None else self.labels[index])

    def split(self, size: int) -> "Iterator[Samples]":
        """Yield all samples in order, at most `size` at a time."""
        for index in torch.arange(len(self.inputs)).split(size):
            yield self.take(index)


class Batch(NamedTuple):
    """A few samples and the rates that the teacher asks for, in [0, 1], by hidden layer."""

    inputs: Float[Tensor, "batch *shape"]
    labels: Int[Tensor, " batch"] | Float[Tensor, "batch output"] | None
    rates: dict[str, Float[Tensor, "batch *_neuron"]]
    logits: Float[Tensor, "batch output"] | None = None  # the teacher's

    @property
    def size(self) -> int:
        """Number of samples."""
        return len(self.inputs)

    @property
    def expected(self) -> Int[Tensor, " batch"] | Float[Tensor, "batch output"]:
        """Labels of the samples; without labels, the teacher's classes.

        Raises SettingError if the batch has neither labels nor the teacher's logits.
        """
        return self.labels if self.labels is not None else self._teacher_logits().argmax(1)

    def readout_loss(self, readout: Readout = Readout.LABELS) -> ReadoutLoss:
        """Return the loss of the readout that the setting asks for.

        Without labels, `Readout.LABELS` is the cross-entropy with the teacher's softmax. Raises
        SettingError if the teacher's logits are needed and the batch has none.
        """
        if readout is Readout.LABELS and self.labels is not None:
            if self.labels.is_floating_point():
                return SquaredError(self.labels)
            return LabelCrossEntropy(self.labels)
        if readout is Readout.TEACHER_VALUES:
            return SquaredError(self._teacher_logits())
        return TeacherCrossEntropy(self._teacher_logits())

    def rescaled(self, percentile: float) -> "Batch":
        """Return the batch with scales k of its own, as in the published code of LTL.

        R = clip(A / P_p(A), 0, 1), with the percentile P_p over this batch. Activations above the
        k with which they were stored are lost; collect targets with a percentile of 100 to lose
        none.
        """
        scales = {name: nearest_rank(rate, percentile) for name, rate in self.rates.items()}
        rates = {n: (r / (scales[n] or 1.0)).clamp_(0, 1) for n, r in self.rates.items()}
        return self._replace(rates=rates)

    def _teacher_logits(self) -> Float[Tensor, "batch output"]:
        if self.logits is None:
            raise SettingError(
                "The readout has nothing to learn from: these targets hold neither what it should "
                "learn nor outputs of the teacher. Collect them again, or give labels."
            )
        return self.logits


@runtime_checkable
class Targets(Protocol):
    """Samples with the rates that the teacher asks for, taken in batches."""

    @property
    def samples(self) -> Samples:
        """All samples."""
        ...

    @property
    def scales(self) -> Mapping[str, float]:
        """Activation k that stands for a rate of 1, by hidden layer."""
        ...

    @property
    def size(self) -> int:
        """Number of samples."""
        ...

    def take(self, index: Int[Tensor, " batch"]) -> Batch:
        """Return the samples at these indices, with their rates."""
        ...

    def batches(self, size: int) -> Iterator[Batch]:
        """Yield all samples in order, at most `size` at a time."""
        ...


class TargetSet(NamedTuple):
    """Samples with stored target rates of every hidden layer: R = round(255 clip(a / k, 0, 1))."""

    samples: Samples
    scales: Mapping[str, float]  # k of each hidden layer
    rates: Mapping[str, UInt8[Tensor, "sample *_neuron"]]  # R
    logits: Float[Tensor, "sample output"] | None = None  # the teacher's

    @property
    def size(self) -> int:
        """Number of samples."""
        return len(self.samples.inputs)

    def take(self, index: Int[Tensor, " batch"]) -> Batch:
        """Return the samples at these indices, with their rates in [0, 1]."""
        rates = {name: from_levels(rate[index]) for name, rate in self.rates.items()}
        logits = None if self.logits is None else self.logits[index]
        return Batch(*self.samples.take(index), rates, logits)

    def subset(self, index: Int[Tensor, " kept"]) -> "TargetSet":
        """Return a target set of the samples at these indices alone."""
        logits = None if self.logits is None else self.logits[index]
        rates = {name: rate[index] for name, rate in self.rates.items()}
        return TargetSet(self.samples.take(index), self.scales, rates, logits)

    def batches(self, size: int) -> Iterator[Batch]:
        """Yield all samples in order, at most `size` at a time."""
        for index in torch.arange(self.size).split(size):
            yield self.take(index)

    def to_block(self) -> bytes:
        """Return the target set as a safetensors block."""
        tensors = {f"rate:{name}": rate for name, rate in self.rates.items()}
        tensors |= {name: t for name, t in self.samples._asdict().items() if t is not None}
        if self.logits is not None:
            tensors["logits"] = self.logits
        return pack(tensors, {"scales": json.dumps(dict(self.scales))})

    @classmethod
    def from_block(cls, block: bytes) -> "TargetSet":
        """Read a block that `to_block` wrote. Raises CorruptTensorsError."""
        return cls._of(*unpack(block))

    @classmethod
    def from_file(cls, path: Path) -> "TargetSet":
        """Open a file that holds such a block; samples are read from it when they are needed.

        Raises CorruptTensorsError.
        """
        return cls._of(*unpack_file(path))

    @classmethod
    def _of(cls, tensors: dict[str, Tensor], metadata: Mapping[str, str]) -> "TargetSet":
        try:
            samples = Samples(tensors.pop("inputs"), tensors.pop("labels", None))
            scales = json.loads(metadata["scales"])
        except KeyError as error:
            raise CorruptTensorsError(f"it is not a target set: {error} is missing") from error
        logits = tensors.pop("logits", None)
        rates = {n.removeprefix("rate:"): r for n, r in tensors.items()}
        return cls(samples, scales, rates, logits)


def to_levels(activation: Float[Tensor, "*shape"], scale: float) -> UInt8[Tensor, "*shape"]:
    """Return the rates of activations as stored: round(255 clip(a / k, 0, 1))."""
    return (activation / scale).clamp(0, 1).mul(_RATE_LEVELS).round().to(torch.uint8)


def from_levels(levels: UInt8[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Return stored rates as numbers in [0, 1]."""
    return levels.float() / _RATE_LEVELS


def nearest_rank(values: Float[Tensor, "*shape"], percentile: float) -> float:
    """Return the percentile of all values, by nearest rank."""
    flat = values.flatten()
    rank = min(flat.numel(), max(1, round(percentile / 100 * flat.numel())))
    return float(flat.kthvalue(rank).values)
