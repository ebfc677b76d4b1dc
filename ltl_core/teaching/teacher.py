"""The teacher: a float network run layer by layer; its activations become targets."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from ltl_core.errors import SettingError, SilentLayerError
from ltl_core.network.spec import NetworkSpec
from ltl_core.network.stages import Stage
from ltl_core.spiking.forward import Weights
from ltl_core.spiking.linear import branch_weights, unfold, weighted_sums
from ltl_core.teaching.readout import accuracy_of
from ltl_core.teaching.targets import RATE_LEVELS, Samples, TargetSet, nearest_rank

_CHUNK = 256  # samples at a time


class TeacherOutput(NamedTuple):
    """A teacher's activations, hidden layer by hidden layer, and its logits."""

    activations: dict[str, Float[Tensor, "sample *_neuron"]]
    logits: Float[Tensor, "sample class"]


def run_teacher(
    network: NetworkSpec, weights: Weights, inputs: Float[Tensor, "sample *shape"]
) -> TeacherOutput:
    """ReLU, clipped at each layer's ceiling, between the layers; plain sums at the readout.

    Of a sequence of frames it sees the mean.
    """
    shown: dict[str | None, Tensor] = {None: _still(network, inputs)}
    for stage in network.stages:
        sums = _sums(stage, weights, shown)
        if not stage.is_readout:
            sums = sums.clamp_(min=0, max=stage.ceiling)
        shown[stage.name] = sums
    activations = {name: values for name, values in shown.items() if name is not None}
    return TeacherOutput(activations, activations.pop(network.stages[-1].name))


def collect(
    network: NetworkSpec,
    weights: Weights,
    samples: Samples,
    *,
    percentile: float = 99.0,
    scales: Mapping[str, float] | None = None,
) -> TargetSet:
    """Target rates of every hidden layer.

    Without `scales` they are measured: k_l = the percentile of the layer's activations over
    samples, channels and positions (nearest rank). Raises SettingError, SilentLayerError.
    """
    if not 0 < percentile <= 100:
        raise SettingError(f"percentile {percentile} is not above 0 and at most 100.")
    answers = list(_outputs(network, weights, samples.inputs))
    hidden = [stage.name for stage in network.stages if not stage.is_readout]
    whole = {name: torch.cat([a.activations[name] for a in answers]) for name in hidden}
    if scales is None:
        scales = {name: scale_of(name, whole[name], percentile) for name in hidden}
    rates = {name: as_rates(whole[name], scales[name]) for name in hidden}
    return TargetSet(samples, scales, rates, torch.cat([a.logits for a in answers]))


def scale_of(layer: str, activation: Float[Tensor, "*shape"], percentile: float) -> float:
    """k = P_p(A), nearest rank; the largest where that is zero. Raises SilentLayerError."""
    scale = nearest_rank(activation, percentile)
    scale = scale if scale > 0 else float(activation.max())
    if scale <= 0:
        raise SilentLayerError(layer)
    return scale


def as_rates(activation: Float[Tensor, "*shape"], scale: float) -> Tensor:
    """round(255 clip(a / k, 0, 1)) as uint8."""
    return (activation / scale).clamp(0, 1).mul(RATE_LEVELS).round().to(torch.uint8)


def teacher_accuracy(network: NetworkSpec, weights: Weights, samples: Samples) -> float:
    """Part of the samples whose largest logit is that of their label; of values, what is explained.

    Without labels the teacher is the judge of all, itself included.
    """
    if samples.labels is None:
        return 1.0
    logits = torch.cat([answer.logits for answer in _outputs(network, weights, samples.inputs)])
    return accuracy_of(logits, samples.labels)


def _still(network: NetworkSpec, inputs: Float[Tensor, "sample *shape"]) -> Tensor:
    sequences = inputs.dim() == len(network.input_shape) + 2
    return inputs.mean(1) if sequences else inputs


def _outputs(network: NetworkSpec, weights: Weights, inputs: Tensor) -> Iterator[TeacherOutput]:
    for part in inputs.split(_CHUNK):
        yield run_teacher(network, weights, part)


def _sums(stage: Stage, weights: Weights, shown: Mapping[str | None, Tensor]) -> Tensor:
    total: Tensor | None = None
    for branch, weight in zip(stage.branches, branch_weights(stage, weights), strict=True):
        sums = weighted_sums(unfold(branch, shown[branch.source]), weight)
        total = sums if total is None else total + sums
    if total is None:
        raise ValueError(f"Layer '{stage.name}' reads nothing.")
    return total
