"""The forward pass of a spiking network in plain form: layer by layer, each over all steps."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from ltl_core.network.spec import NetworkSpec
from ltl_core.network.stages import Stage
from ltl_core.settings import NeuronSettings
from ltl_core.spiking.inputs import as_frames
from ltl_core.spiking.linear import branch_weights, weighted_sums
from ltl_core.spiking.neuron import lif_window
from ltl_core.spiking.unfolding import split_time, unfold_steps

# LAYER.weight and LAYER.bias of every matrix; STAGE.gain of the straight branches of an addition.
Weights = Mapping[str, Tensor]


class LayerTrace(NamedTuple):
    """One layer over all steps: its sources, branch by branch, its membranes and its spikes.

    A source with the same analog values at every step is one step long. The membrane of the
    readout is its running sum, and its spikes are None.
    """

    stage: Stage
    sources: tuple[Float[Tensor, "_time batch *_source"], ...]
    membrane: Float[Tensor, "time batch *neuron"]
    spikes: Float[Tensor, "time batch *neuron"] | None


def warm_start(
    network: NetworkSpec, weights: Weights, scales: Mapping[str, float], neuron: NeuronSettings
) -> dict[str, Tensor]:
    """Return the teacher's weights, scaled so that a rate stands for an activation.

    W_l <- W_l (k_{l-1} / k_l) threshold,  b_l <- b_l threshold / k_l,  k_0 = 1;
    the readout keeps its units: W_L <- W_L k_{L-1}. A straight branch of a residual addition
    carries spikes of the rate a_j / k_j, so each has the fixed weight threshold k_j / k_l: then
    all currents add up to threshold a_l / k_l a step, as they do in a chain. `scales` are the k.
    """
    started: dict[str, Tensor] = {}
    for stage in network.stages:
        gain = 1.0 if stage.is_readout else neuron.threshold / scales[stage.name]
        before = [1.0 if b.source is None else scales[b.source] for b in stage.branches]
        for branch, scale in zip(stage.branches, before, strict=True):
            if (layer := branch.layer) is not None:
                started[f"{layer.name}.weight"] = weights[f"{layer.name}.weight"] * scale * gain
                started[f"{layer.name}.bias"] = weights[f"{layer.name}.bias"] * gain
        if straight := before[len(stage.matrices) :]:
            started[f"{stage.name}.gain"] = torch.tensor(straight) * gain
    return started


def layer_traces(
    network: NetworkSpec,
    weights: Weights,
    inputs: Float[Tensor, "batch *shape"],
    neuron: NeuronSettings,
) -> Iterator[LayerTrace]:
    """Run a student layer by layer, each over all steps, and yield the trace of each.

    Inputs are images, held for all steps, or sequences with a frame a step. Raises
    LayerShapeError.
    """
    outputs: dict[str | None, Tensor] = {None: as_frames(network, inputs, neuron.steps)}
    for stage in network.stages:
        sources = tuple(outputs[branch.source] for branch in stage.branches)
        current = stage_sums(stage, weights, sources)
        current = current.expand(neuron.steps, *current.shape[1:])
        if stage.is_readout:
            yield LayerTrace(stage, sources, current.cumsum(0), None)
        else:
            membranes, spikes = lif_window(current, neuron)
            outputs[stage.name] = spikes
            yield LayerTrace(stage, sources, membranes, spikes)


def stage_sums(
    stage: Stage, weights: Weights, sources: Sequence[Float[Tensor, "_time batch *_source"]]
) -> Float[Tensor, "steps batch *output"]:
    """Return sum_j W_ij x_j + b_i over all branches, at every step."""
    total: Tensor | None = None
    branches = zip(stage.branches, branch_weights(stage, weights), sources, strict=True)
    for branch, weight, source in branches:
        sums = split_time(weighted_sums(unfold_steps(branch, source), weight), len(source))
        total = sums if total is None else total + sums
    if total is None:
        raise ValueError(f"Layer '{stage.name}' reads nothing.")
    return total
