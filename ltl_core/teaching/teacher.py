"""The teacher: a float network run layer by layer. Its activations become target rates."""

from collections.abc import Mapping
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
    outputs: dict[str | None, Tensor] = {None: still_inputs(network, inputs)}
    for stage in network.stages:
        sums = _sums(stage, weights, outputs)
        if not stage.is_readout:
            sums = sums.clamp_(min=0, max=stage.ceiling)
        outputs[stage.name] = sums
    activations = {name: values for name, values in outputs.items() if name is not None}
    return TeacherOutput(activations, activations.pop(network.stages[-1].name))


def run_over(
    network: NetworkSpec, weights: Weights, inputs: Float[Tensor, "sample *shape"]
) -> TeacherOutput:
    """Run the network as `run_teacher` does, over any number of samples, a few at a time."""
    outputs = [run_teacher(network, weights, chunk) for chunk in inputs.split(_CHUNK)]
    names = outputs[0].activations
    return TeacherOutput(
        {name: torch.cat([output.activations[name] for output in outputs]) for name in names},
        torch.cat([output.logits for output in outputs]),
    )


def collect(
    network: NetworkSpec,
    weights: Weights,
    samples: Samples,
    *,
    percentile: float = 99.0,
    scales: Mapping[str, float] | None = None,
) -> TargetSet:
    """Run the teacher over the samples and return what `as_targets` makes of its activations."""
    output = run_over(network, weights, samples.inputs)
    return as_targets(samples, output, percentile=percentile, scales=scales)


def as_targets(
    samples: Samples,
    output: TeacherOutput,
    *,
    percentile: float = 99.0,
    scales: Mapping[str, float] | None = None,
) -> TargetSet:
    """Return the target rates of every hidden layer from a teacher's activations for the samples.

    Without `scales` they are measured: k_l is the percentile of the layer's activations over
    samples, channels and positions (nearest rank). Raises SettingError if the percentile is not
    in (0, 100], and SilentLayerError if a layer has no activation above zero.
    """
    if not 0 < percentile <= 100:
        raise SettingError(f"The percentile must be above 0 and at most 100, but is {percentile}.")
    found = output.activations
    if scales is None:
        scales = {name: scale_of(name, values, percentile) for name, values in found.items()}
    rates = {name: to_levels(values, scales[name]) for name, values in found.items()}
    return TargetSet(samples, scales, rates, output.logits)


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
    """Return the teacher's accuracy, as `accuracy_of_output` has it."""
    if samples.labels is None:
        return 1.0
    chunks = samples.inputs.split(_CHUNK)
    logits = [run_teacher(network, weights, chunk).logits for chunk in chunks]
    return accuracy_of_output(samples, torch.cat(logits))


def accuracy_of_output(samples: Samples, logits: Float[Tensor, "sample class"]) -> float:
    """Return the accuracy of a teacher with these logits; see `accuracy_of`.

    Without labels the teacher's classes are taken as right, so its accuracy is 1.
    """
    return 1.0 if samples.labels is None else accuracy_of(logits, samples.labels)


def still_inputs(
    network: NetworkSpec, inputs: Float[Tensor, "sample *shape"]
) -> Float[Tensor, "sample *input"]:
    """Return what a teacher sees of the samples: of a sequence of frames, their mean."""
    still = inputs.mean(1) if are_sequences(network, inputs) else inputs
    return scaled_inputs(network, still)


def _sums(stage: Stage, weights: Weights, outputs: Mapping[str | None, Tensor]) -> Tensor:
    total: Tensor | None = None
    for branch, weight in zip(stage.branches, branch_weights(stage, weights), strict=True):
        sums = weighted_sums(unfold(branch, outputs[branch.source]), weight)
        total = sums if total is None else total + sums
    if total is None:
        raise ValueError(f"Layer '{stage.name}' reads nothing.")
    return total
