"""Targets that nobody stores: the teacher answers each batch when it is taken."""

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ltl_core.network.spec import NetworkSpec
from ltl_core.spiking.forward import Weights
from ltl_core.teaching.targets import RATE_LEVELS, Batch, Samples
from ltl_core.teaching.teacher import as_rates, run_teacher

Vary = Callable[[Float[Tensor, "batch *shape"]], Float[Tensor, "batch *shape"]]


class Teacher(NamedTuple):
    """A network, its float weights, and the scale of each hidden layer."""

    network: NetworkSpec
    weights: Weights
    scales: Mapping[str, float]


class LiveTargets:
    """The same batches as of a `TargetSet`, for one more pass of the teacher and no memory.

    With `vary`, such as a random crop, inputs are varied anew each time they are taken.
    """

    def __init__(self, teacher: Teacher, samples: Samples, vary: Vary | None = None) -> None:
        self._teacher, self._vary = teacher, vary
        self.samples = samples

    @property
    def scales(self) -> Mapping[str, float]:
        """k of each hidden layer."""
        return self._teacher.scales

    @property
    def size(self) -> int:
        """Number of samples."""
        return len(self.samples.inputs)

    def take(self, index: Int[Tensor, " batch"]) -> Batch:
        """The samples at these places."""
        inputs, labels = self.samples.take(index)
        if self._vary is not None:
            inputs = self._vary(inputs)
        answer = run_teacher(self._teacher.network, self._teacher.weights, inputs)
        rates = {
            name: as_rates(activation, self.scales[name]).float() / RATE_LEVELS
            for name, activation in answer.activations.items()
        }
        return Batch(inputs, labels, rates, answer.logits)

    def batches(self, size: int) -> Iterator[Batch]:
        """All samples in order."""
        for index in torch.arange(self.size).split(size):
            yield self.take(index)
