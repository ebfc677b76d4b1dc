"""What reaches the matrices of a network, and how large their column sums become."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from ltl_core.network.spec import NetworkSpec
from ltl_core.settings import NeuronSettings
from ltl_core.spiking.forward import layer_traces
from ltl_core.spiking.linear import BranchWeights, branch_weights
from ltl_core.spiking.unfolding import UnfoldedInput, unfold_steps

SAMPLES_AT_ONCE = 4
_PERCENTILE = 0.999


class MatrixInput(NamedTuple):
    """What reaches one matrix at every step, and its weights without bias."""

    name: str
    rows: UnfoldedInput
    weights: BranchWeights


class TopValues:
    """The largest of all values, added a few samples at a time: as many as a percentile needs."""

    def __init__(self, samples: int) -> None:
        """Prepare for the values of so many samples."""
        self._samples = samples
        self._kept = torch.empty(0)

    def add(self, values: Tensor, samples: int) -> None:
        """Add the values of so many samples, each of which gives equally many."""
        whole = values.numel() // samples * self._samples
        count = whole - max(1, round(_PERCENTILE * whole)) + 1
        largest = torch.cat((self._kept, _largest(values.abs().flatten(), count)))
        self._kept = _largest(largest, count)

    @property
    def percentile(self) -> float:
        """The 99.9th percentile of |value|; exact once all samples were added."""
        return float(self._kept.min())


def matrix_inputs(
    network: NetworkSpec,
    weights: Mapping[str, Tensor],
    inputs: Float[Tensor, "batch *shape"],
    neuron: NeuronSettings,
) -> Iterator[MatrixInput]:
    """Run a student and yield what reaches each matrix. Raises LayerShapeError."""
    for trace in layer_traces(network, weights, inputs, neuron):
        stage = trace.stage
        branches = zip(stage.branches, branch_weights(stage, weights), trace.sources, strict=True)
        for branch, weight, source in branches:
            if branch.layer is not None:
                rows = unfold_steps(branch, source)
                yield MatrixInput(branch.layer.name, rows, weight._replace(bias=None))


def _largest(values: Tensor, count: int) -> Tensor:
    return values.topk(min(count, values.numel()), sorted=False).values
