"""What the teacher asks for: the firing rate of every neuron for every sample, in eight bits."""

import json
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from ltl_core.errors import CorruptTensorsError
from ltl_core.packing import pack, unpack
from ltl_core.readout import Classes, Goal

RATE_LEVELS = 255  # with 16 steps a rate has 17 levels: eight bits lose nothing


class Samples(NamedTuple):
    """Inputs with their classes."""

    inputs: Float[Tensor, "sample *shape"]
    labels: Int[Tensor, " sample"]


class Batch(NamedTuple):
    """A few samples and the rates that the teacher asks for, in [0, 1]."""

    inputs: Float[Tensor, "batch *shape"]
    labels: Int[Tensor, " batch"]
    rates: dict[str, Float[Tensor, "batch *neuron"]]

    @property
    def goal(self) -> Goal:
        """What the readout is taught."""
        return Classes(self.labels)


class TargetSet(NamedTuple):
    """Samples with the target rates of every hidden layer: R = round(255 clip(a / k, 0, 1))."""

    samples: Samples
    scales: Mapping[str, float]  # k of each hidden layer
    rates: Mapping[str, UInt8[Tensor, "sample *neuron"]]

    @property
    def size(self) -> int:
        """Number of samples."""
        return len(self.samples.labels)

    def take(self, index: Int[Tensor, " batch"]) -> Batch:
        """The samples at these places."""
        rates = {name: rate[index].float() / RATE_LEVELS for name, rate in self.rates.items()}
        return Batch(self.samples.inputs[index], self.samples.labels[index], rates)

    def subset(self, index: Int[Tensor, " kept"]) -> "TargetSet":
        """A target set of these samples alone."""
        samples = Samples(self.samples.inputs[index], self.samples.labels[index])
        return TargetSet(samples, self.scales, {n: r[index] for n, r in self.rates.items()})

    def batches(self, size: int) -> Iterator[Batch]:
        """All samples in order."""
        for index in torch.arange(self.size).split(size):
            yield self.take(index)

    def to_block(self) -> bytes:
        """As a safetensors block."""
        tensors = {f"rate:{name}": rate for name, rate in self.rates.items()}
        tensors |= {"inputs": self.samples.inputs, "labels": self.samples.labels}
        return pack(tensors, {"scales": json.dumps(dict(self.scales))})

    @classmethod
    def from_block(cls, block: bytes) -> "TargetSet":
        """Read what `to_block` wrote. Raises CorruptTensorsError."""
        tensors, metadata = unpack(block)
        try:
            samples = Samples(tensors.pop("inputs"), tensors.pop("labels"))
            scales = json.loads(metadata["scales"])
        except KeyError as error:
            raise CorruptTensorsError(f"it is no target set: {error} is missing") from error
        return cls(samples, scales, {n.removeprefix("rate:"): r for n, r in tensors.items()})
