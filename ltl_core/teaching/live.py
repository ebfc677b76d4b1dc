"""Live targets: nothing is stored; the teacher is run on each batch when it is taken."""

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ltl_core.network.spec import NetworkSpec
from ltl_core.spiking.forward import Weights
from ltl_core.teaching.targets import Batch, Samples, from_levels, to_levels
from ltl_core.teaching.teacher import run_teacher

Augmentation = Callable[[Float[Tensor, "batch *shape"]], Float[Tensor, "batch *shape"]]


class Teacher(NamedTuple):
    """A network, its float weights, and the scale k of each hidden layer."""

    network: NetworkSpec
    weights: Weights
    scales: Mapping[str, float]


class LiveTargets:
    """The batches of a `TargetSet`, without its memory, for one more pass of the teacher.

    With an augmentation, such as a random crop, inputs are varied anew each time they are taken.
    """

    def __init__(
        self, teacher: Teacher, samples: Samples, augment: Augmentation | None = None
    ) -> None:
        """Take targets of these samples from a teacher, whose scales must be known."""
        self._teacher, self._augment = teacher, augment
        self.samples = samples

    @property
    def scales(self) -> Mapping[str, float]:
        """Activation k that stands for a rate of 1, by hidden layer."""
        return self._teacher.scales

    @property
    def size(self) -> int:
        """Number of samples."""
        return len(self.samples.inputs)

    def take(self, index: Int[Tensor, " batch"]) -> Batch:
        """Return the samples at these indices, with their rates in [0, 1], rounded to 8 bits."""
        inputs, labels = self.samples.take(index)
        if self._augment is not None:
            inputs = self._augment(inputs)
        output = run_teacher(self._teacher.network, self._teacher.weights, inputs)
        rates = {
            name: from_levels(to_levels(activation, self.scales[name]))
            for name, activation in output.activations.items()
        }
        return Batch(inputs, labels, rates, output.logits)

    def batches(self, size: int) -> Iterator[Batch]:
        """Yield all samples in order, at most `size` at a time."""
        for index in torch.arange(self.size).split(size):
            yield self.take(index)
