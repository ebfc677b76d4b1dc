"""The student that training starts from, and the ranges of its converters."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from ltl_core.network.spec import NetworkSpec
from ltl_core.settings import NeuronSettings
from ltl_core.spiking.forward import layer_traces, warm_start
from ltl_core.spiking.linear import branch_weights, weighted_sums
from ltl_core.spiking.unfolding import unfold_steps
from ltl_core.student.codes import CodeFormat, fit_lsb
from ltl_core.student.student import Student
from ltl_core.teaching.targets import Targets, evenly_spaced_indices

_SAMPLES = 256  # enough to set the converters' full scales
_CHUNK = 4  # samples at a time
_PERCENTILE = 0.999


def start_student(
    network: NetworkSpec,
    weights: Mapping[str, Tensor],
    targets: Targets,
    neuron: NeuronSettings,
) -> Student:
    """Return the warm start, rounded to codes: each layer's step fits its weights best.

    `weights` are the teacher's.
    """
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
    return student.with_weights(scaled)


def set_ranges(student: Student, targets: Targets) -> Student:
    """Return the student with converter ranges that hold all but the rarest hidden column sums.

    The readout keeps its own range, since the unit of its biases depends on it.
    """
    sums = _largest_sums(student.network, student.weights(), targets, student.neuron)
    readout = student.network.stages[-1].name
    full_scale = {name: value / student.lsb[name] for name, value in sums.items()}
    full_scale[readout] = student.full_scale[readout]
    return student._replace(full_scale=full_scale)


def _largest_sums(
    network: NetworkSpec, weights: Mapping[str, Tensor], targets: Targets, neuron: NeuronSettings
) -> dict[str, float]:
    """Return the 99.9th percentile of |column sum| of each matrix, without bias, in weight units.

    If nothing reaches a matrix yet, its largest weight is returned: a range must not be empty.
    """
    inputs = targets.samples.inputs[evenly_spaced_indices(targets.size, _SAMPLES)]
    tops = {layer.name: _TopValues(len(inputs)) for layer in network.matrices}
    for chunk in inputs.split(_CHUNK):
        for sums in _column_sums(network, weights, chunk, neuron):
            tops[sums.matrix].add(sums.values, len(chunk))
    return {
        name: top.percentile or float(weights[f"{name}.weight"].abs().max()) or 1.0
        for name, top in tops.items()
    }


class _ColumnSums(NamedTuple):
    matrix: str
    values: Tensor


def _column_sums(
    network: NetworkSpec, weights: Mapping[str, Tensor], inputs: Tensor, neuron: NeuronSettings
) -> Iterator[_ColumnSums]:
    """Yield the column sums of each matrix at every step, without bias."""
    for trace in layer_traces(network, weights, inputs, neuron):
        stage = trace.stage
        branches = zip(stage.branches, branch_weights(stage, weights), trace.sources, strict=True)
        for branch, weight, source in branches:
            if branch.layer is not None:
                unfolded = unfold_steps(branch, source)
                sums = weighted_sums(unfolded, weight._replace(bias=None))
                yield _ColumnSums(branch.layer.name, sums)


class _TopValues:
    """The largest of all values, added a few samples at a time: as many as a percentile needs."""

    def __init__(self, samples: int) -> None:
        self._samples = samples
        self._kept = torch.empty(0)

    def add(self, values: Tensor, samples: int) -> None:
        """Add the values of so many samples, each of which gives equally many."""
        whole = values.numel() // samples * self._samples
        count = whole - max(1, round(_PERCENTILE * whole)) + 1
        largest = torch.cat((self._kept, _largest(values.abs_().flatten(), count)))
        self._kept = _largest(largest, count)

    @property
    def percentile(self) -> float:
        """The percentile of all values; exact once all samples were added."""
        return float(self._kept.min())


def _largest(values: Tensor, count: int) -> Tensor:
    return values.topk(min(count, values.numel()), sorted=False).values
