"""The teacher: a float network run layer by layer. Its activations become target rates."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from ltl_core.errors import SettingError, SilentLayerError
from ltl_core.network.spec import NetworkSpec
from ltl_core.network.stages import Stage
from ltl_core.spiking.forward import Weights
from ltl_core.spiking.inputs import are_sequences, scaled_inputs
from ltl_core.spiking.linear import branch_weights, weighted_sums
from ltl_core.spiking.unfolding import unfold
from ltl_core.teaching.readout import accuracy_of
from ltl_core.teaching.targets import Samples, TargetSet, nearest_rank, to_levels

_CHUNK = 256  # samples at a time


class TeacherOutput(NamedTuple):
    """Activations of a teacher, by hidden layer, and its logits."""

    activations: dict[str, Float[Tensor, "sample *_neuron"]]
    logits: Float[Tensor, "sample class"]


def run_teacher(
    network: NetworkSpec, weights: Weights, inputs: Float[Tensor, "sample *shape"]
) -> TeacherOutput:
    """Run the network with ReLUs, clipped at each layer's ceiling; the readout gives plain sums.

    If the inputs are sequences of frames, the teacher sees the mean of each.
    """
    outputs: dict[str | None, Tensor] = {None: _time_mean(network, inputs)}
    for stage in network.stages:
        sums = _sums(stage, weights, outputs)
        if not stage.is_readout:
            sums = sums.clamp_(min=0, max=stage.ceiling)
        outputs[stage.name] = sums
    activations = {name: values for name, values in outputs.items() if name is not None}
    return TeacherOutput(activations, activations.pop(network.stages[-1].name))


def collect(
    network: NetworkSpec,
    weights: Weights,
    samples: Samples,
    *,
    percentile: float = 99.0,
    scales: Mapping[str, float] | None = None,
) -> TargetSet:
    """Return the target rates of every hidden layer for these samples.

    Without `scales` they are measured: k_l is the percentile of the layer's activations over
    samples, channels and positions (nearest rank). Raises SettingError if the percentile is not
    in (0, 100], and SilentLayerError if a layer has no activation above zero.
    """
    if not 0 < percentile <= 100:
        raise SettingError(f"The percentile must be above 0 and at most 100, but is {percentile}.")
    outputs = list(_outputs(network, weights, samples.inputs))
    hidden = [stage.name for stage in network.stages if not stage.is_readout]
    whole = {name: torch.cat([a.activations[name] for a in outputs]) for name in hidden}
    if scales is None:
        scales = {name: scale_of(name, whole[name], percentile) for name in hidden}
    rates = {name: to_levels(whole[name], scales[name]) for name in hidden}
    return TargetSet(samples, scales, rates, torch.cat([a.logits for a in outputs]))


def scale_of(layer: str, activation: Float[Tensor, "*shape"], percentile: float) -> float:
    """Return the scale k of a layer: the percentile of its activations, by nearest rank.

    If that is zero, k is the largest activation. Raises SilentLayerError if that is zero too.
    """
    scale = nearest_rank(activation, percentile)
    scale = scale if scale > 0 else float(activation.max())
    if scale <= 0:
        raise SilentLayerError(layer)
    return scale


def teacher_accuracy(network: NetworkSpec, weights: Weights, samples: Samples) -> float:
    """Return the teacher's accuracy; see `accuracy_of`.

    Without labels the teacher's classes are taken as right, so its accuracy is 1.
    """
    if samples.labels is None:
        return 1.0
    logits = torch.cat([output.logits for output in _outputs(network, weights, samples.inputs)])
    return accuracy_of(logits, samples.labels)


def _time_mean(network: NetworkSpec, inputs: Float[Tensor, "sample *shape"]) -> Tensor:
    still = inputs.mean(1) if are_sequences(network, inputs) else inputs
    return scaled_inputs(network, still)


def _outputs(network: NetworkSpec, weights: Weights, inputs: Tensor) -> Iterator[TeacherOutput]:
    for chunk in inputs.split(_CHUNK):
        yield run_teacher(network, weights, chunk)


def _sums(stage: Stage, weights: Weights, outputs: Mapping[str | None, Tensor]) -> Tensor:
    total: Tensor | None = None
    for branch, weight in zip(stage.branches, branch_weights(stage, weights), strict=True):
        sums = weighted_sums(unfold(branch, outputs[branch.source]), weight)
        total = sums if total is None else total + sums
    if total is None:
        raise ValueError(f"Layer '{stage.name}' reads nothing.")
    return total
