"""What the teacher asks for: the firing rate of every neuron for every sample, in eight bits."""

import json
from collections.abc import Iterator, Mapping
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from ltl_core.errors import CorruptTensorsError, SettingError
from ltl_core.packing import pack, unpack
from ltl_core.settings import Readout
from ltl_core.teaching.readout import (
    LabelCrossEntropy,
    ReadoutLoss,
    SquaredError,
    TeacherCrossEntropy,
)

RATE_LEVELS = 255  # with 16 steps a rate has 17 levels: eight bits lose nothing


def evenly_spaced_indices(size: int, count: int) -> Int[Tensor, " kept"]:
    """Indices of `count` of `size` samples, evenly spaced, or of all where there are fewer.

    Data are often sorted by class, so the first `count` would miss classes.
    """
    count = min(size, count)
    return torch.arange(count, device="cpu") * size // max(count, 1)


class Samples(NamedTuple):
    """Inputs with their classes, with the values that a regression should give, or alone.

    An input is an image, or a sequence of them with a frame a time step.
    """

    inputs: Float[Tensor, "sample *shape"]
    labels: Int[Tensor, " sample"] | Float[Tensor, "sample output"] | None

    def take(self, index: Int[Tensor, " kept"] | slice) -> "Samples":
        """The samples at these places."""
        return Samples(self.inputs[index], None if self.labels is None else self.labels[index])

    def split(self, size: int) -> "Iterator[Samples]":
        """All samples in order, a few at a time."""
        for index in torch.arange(len(self.inputs)).split(size):
            yield self.take(index)


class Batch(NamedTuple):
    """A few samples and the rates that the teacher asks for, in [0, 1]."""

    inputs: Float[Tensor, "batch *shape"]
    labels: Int[Tensor, " batch"] | Float[Tensor, "batch output"] | None
    rates: dict[str, Float[Tensor, "batch *_neuron"]]
    logits: Float[Tensor, "batch output"] | None = None  # the teacher's

    @property
    def size(self) -> int:
        """Number of samples."""
        return len(self.inputs)

    @property
    def answers(self) -> Int[Tensor, " batch"] | Float[Tensor, "batch output"]:
        """What a right output is: the label; without labels, the teacher's class.

        Raises SettingError.
        """
        return self.labels if self.labels is not None else self._of_teacher().argmax(1)

    def readout_loss(self, readout: Readout = Readout.LABELS) -> ReadoutLoss:
        """What the readout is taught: without labels, the teacher's softmax.

        Raises SettingError.
        """
        if readout is Readout.LABELS and self.labels is not None:
            return (
                SquaredError(self.labels)
                if self.labels.is_floating_point()
                else LabelCrossEntropy(self.labels)
            )
        if readout is Readout.TEACHER_VALUES:
            return SquaredError(self._of_teacher())
        return TeacherCrossEntropy(self._of_teacher())

    def _of_teacher(self) -> Float[Tensor, "batch output"]:
        if self.logits is None:
            raise SettingError(
                "The readout has nothing to learn from: these targets hold neither what it should "
                "learn nor outputs of the teacher. Collect them again, or give labels."
            )
        return self.logits

    def rescaled(self, percentile: float) -> "Batch":
        """With k of this batch alone, as the published code has it: R = clip(A / P_p(A), 0, 1).

        Of activations above the k that they were stored with nothing is left; collect with a
        percentile of 100 to lose none.
        """
        scales = {name: nearest_rank(rate, percentile) for name, rate in self.rates.items()}
        rates = {n: (r / (scales[n] or 1.0)).clamp_(0, 1) for n, r in self.rates.items()}
        return self._replace(rates=rates)


@runtime_checkable
class Targets(Protocol):
    """Samples with what the teacher asks for, a batch at a time."""

    @property
    def samples(self) -> Samples: ...

    @property
    def scales(self) -> Mapping[str, float]: ...

    @property
    def size(self) -> int: ...

    def take(self, index: Int[Tensor, " batch"]) -> Batch: ...

    def batches(self, size: int) -> Iterator[Batch]: ...


class TargetSet(NamedTuple):
    """Samples with the target rates of every hidden layer: R = round(255 clip(a / k, 0, 1))."""

    samples: Samples
    scales: Mapping[str, float]  # k of each hidden layer
    rates: Mapping[str, UInt8[Tensor, "sample *_neuron"]]
    logits: Float[Tensor, "sample output"] | None = None  # the teacher's

    @property
    def size(self) -> int:
        """Number of samples."""
        return len(self.samples.inputs)

    def take(self, index: Int[Tensor, " batch"]) -> Batch:
        """The samples at these places."""
        rates = {name: rate[index].float() / RATE_LEVELS for name, rate in self.rates.items()}
        logits = None if self.logits is None else self.logits[index]
        return Batch(*self.samples.take(index), rates, logits)

    def subset(self, index: Int[Tensor, " kept"]) -> "TargetSet":
        """A target set of these samples alone."""
        logits = None if self.logits is None else self.logits[index]
        rates = {name: rate[index] for name, rate in self.rates.items()}
        return TargetSet(self.samples.take(index), self.scales, rates, logits)

    def batches(self, size: int) -> Iterator[Batch]:
        """All samples in order."""
        for index in torch.arange(self.size).split(size):
            yield self.take(index)

    def to_block(self) -> bytes:
        """As a safetensors block."""
        tensors = {f"rate:{name}": rate for name, rate in self.rates.items()}
        tensors |= {name: t for name, t in self.samples._asdict().items() if t is not None}
        if self.logits is not None:
            tensors["logits"] = self.logits
        return pack(tensors, {"scales": json.dumps(dict(self.scales))})

    @classmethod
    def from_block(cls, block: bytes) -> "TargetSet":
        """Read what `to_block` wrote. Raises CorruptTensorsError."""
        tensors, metadata = unpack(block)
        try:
            samples = Samples(tensors.pop("inputs"), tensors.pop("labels", None))
            scales = json.loads(metadata["scales"])
        except KeyError as error:
            raise CorruptTensorsError(f"it is no target set: {error} is missing") from error
        logits = tensors.pop("logits", None)
        rates = {n.removeprefix("rate:"): r for n, r in tensors.items()}
        return cls(samples, scales, rates, logits)


def nearest_rank(values: Float[Tensor, "*shape"], percentile: float) -> float:
    """P_p of all values, nearest rank."""
    flat = values.flatten()
    rank = min(flat.numel(), max(1, round(percentile / 100 * flat.numel())))
    return float(flat.kthvalue(rank).values)
