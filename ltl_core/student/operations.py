"""Operations of a student: firing rates, and synaptic operations beside those of the ANN.

ANN = sum_l fan_in * neurons;   SNN = sum_t sum_l fan_out * spikes;   ratio = SNN / ANN

Analog inputs multiply, they do not spike: what reads the network's input is counted apart. Only
connections that exist count, not those to a padding. Synaptic operations are a measure of
NeuroBench (Yik et al., arXiv 2304.04640).
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from ltl_core.network.spec import NetworkSpec
from ltl_core.network.stages import Branch
from ltl_core.spiking.linear import input_gradient
from ltl_core.student.forward import pack_student
from ltl_core.student.layerwise import layerwise_forward_packed
from ltl_core.student.student import Student
from ltl_core.teaching.targets import Targets

_CHUNK = 128  # samples at a time


class OperationCount(NamedTuple):
    """Firing rates and operations of a student for one sample, on average."""

    firing_rate: float  # spikes a neuron and step
    layer_rates: tuple[float, ...]  # the same, hidden layer by hidden layer
    synops: float  # additions that spikes cause
    ann_synops: float  # multiplications of an ANN in the same layers
    analog_ops: float  # multiplications of analog inputs, once a sample

    @property
    def ratio(self) -> float:
        """Operations of the SNN by those of the ANN, without the layers that read the input."""
        return self.synops / self.ann_synops if self.ann_synops else 0.0


def count_operations(student: Student, targets: Targets) -> OperationCount:
    """Count the operations of the ideal student on these samples."""
    packed, neuron = pack_student(student), student.neuron
    rates = (
        layerwise_forward_packed(student.network, packed, batch.inputs, neuron).rates
        for batch in targets.batches(_CHUNK)
    )
    return operations_from_rates(student.network, rates, neuron.steps)


def operations_from_rates(
    network: NetworkSpec,
    rates: Iterable[Mapping[str, Float[Tensor, "batch *_neuron"]]],
    steps: int,
) -> OperationCount:
    """Count operations from the rates of every hidden layer, computed or measured, by batch."""
    means = _mean_rates(rates)
    synops = ann = analog = 0.0
    for stage in network.stages:
        for branch in stage.branches:
            connections = fan_out(branch)
            if branch.source is None:
                analog += float(connections.sum())
            else:
                ann += float(connections.sum()) / _pooled(branch)
                synops += steps * float((means[branch.source] * connections).sum())
    neurons = sum(mean.numel() for mean in means.values())
    fired = sum(float(mean.sum()) for mean in means.values())
    layers = tuple(float(mean.mean()) for mean in means.values())
    return OperationCount(fired / max(1, neurons), layers, synops, ann, analog)


def fan_out(branch: Branch) -> Float[Tensor, "*source"]:
    """Return the number of connections that each value of the branch's source leads to."""
    shape, weight = branch.input_shape, torch.ones(())
    if branch.layer is not None:
        shape, weight = branch.layer.output_shape(shape), torch.ones(branch.layer.weight_shape)
    back = input_gradient(branch, weight, torch.ones(1, *shape))
    return back.reshape(branch.source_shape) * _pooled(branch)


def _mean_rates(
    rates: Iterable[Mapping[str, Float[Tensor, "batch *_neuron"]]],
) -> dict[str, Tensor]:
    totals: dict[str, Tensor] = {}
    samples = 0
    for batch in rates:
        samples += len(next(iter(batch.values()), ()))
        for name, rate in batch.items():
            totals[name] = totals.get(name, torch.zeros(())) + rate.sum(0)
    return {name: total / samples for name, total in totals.items()}


def _pooled(branch: Branch) -> int:
    """Return how many values share one cell behind the pools; each reaches what it reaches."""
    share = 1
    for window in branch.pools:
        share *= window.kernel[0] * window.kernel[1]
    return share
