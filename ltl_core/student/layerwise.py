"""One pass over a student, layer by layer, which computes the gradients of a local rule on the way.

A layer is computed a few samples at a time: its currents, neurons, deltas and weight gradients
follow on each other while their numbers are still in the cache. What outlives a layer are its
spikes, until the last layer that reads them is done. If a rule needs no later steps, the pass goes
a few steps at a time, so that its memory does not grow with time.
"""

from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import NamedTuple

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from ltl_core.at_once import STEPS_AT_ONCE
from ltl_core.network.layers import Shape
from ltl_core.network.spec import NetworkSpec
from ltl_core.network.stages import Stage
from ltl_core.rules.rule import LayerActivity, Rule
from ltl_core.settings import NeuronSettings
from ltl_core.spiking.forward import Weights
from ltl_core.spiking.gradient import Gradient, GradientSum, sample_slices
from ltl_core.spiking.inputs import as_frames
from ltl_core.spiking.linear import (
    BranchWeights,
    PackedWeights,
    branch_weights,
    weighted_sums,
)
from ltl_core.spiking.neuron import LIFWindow, count_spikes, lif_window_into
from ltl_core.spiking.unfolding import UnfoldedInput, split_time, unfold_steps
from ltl_core.teaching.readout import ReadoutLoss

PackedNetwork = Mapping[str, tuple[PackedWeights, ...]]  # by stage, one entry a branch


class Supervision(NamedTuple):
    """What a batch supervises a student with: the rule, target rates, and the readout's loss."""

    rule: Rule
    targets: Mapping[str, Float[Tensor, "batch *_neuron"]]  # rates in [0, 1], by hidden layer
    readout_loss: ReadoutLoss
    delta_bits: int | None = None  # as in TrainingSettings


class LayerwiseResult(NamedTuple):
    """Rates and logits of a student, and with supervision the gradients of its matrices."""

    rates: dict[str, Float[Tensor, "batch *_neuron"]]
    logits: Float[Tensor, "batch output"]
    gradients: dict[str, Gradient]


class _SliceState(NamedTuple):
    """State of some samples of a layer, carried from one segment of steps to the next."""

    membrane: Float[Tensor, "n *neuron"]  # of the readout: its running sum
    counted: Float[Tensor, "n *neuron"]  # spikes so far


class _SliceKey(NamedTuple):
    stage: str
    first_sample: int


class _Slice(NamedTuple):
    """Some samples of one layer, over some steps."""

    stage: Stage
    samples: slice
    start: int  # index of the first step

    @property
    def key(self) -> _SliceKey:
        return _SliceKey(self.stage.name, self.samples.start)


class _Currents(NamedTuple):
    inputs: list[UnfoldedInput]  # one a branch
    sums: Float[Tensor, "time n *neuron"]


def layerwise_forward(
    network: NetworkSpec,
    weights: Weights,
    inputs: Float[Tensor, "batch *shape"],
    neuron: NeuronSettings,
    supervision: Supervision | None = None,
) -> LayerwiseResult:
    """Run a student over the whole time window; with supervision, compute its gradients too.

    Inputs are images, held for all steps, or sequences of as many frames as there are steps.
    Raises LayerShapeError for any other shape.
    """
    packed = {stage.name: branch_weights(stage, weights) for stage in network.stages}
    return layerwise_forward_packed(network, packed, inputs, neuron, supervision)


def layerwise_forward_packed(
    network: NetworkSpec,
    weights: PackedNetwork,
    inputs: Float[Tensor, "batch *shape"],
    neuron: NeuronSettings,
    supervision: Supervision | None = None,
) -> LayerwiseResult:
    """Do what `layerwise_forward` does, with weights that are packed already.

    Raises LayerShapeError if the inputs are neither images nor sequences of the right length.
    """
    frames = as_frames(network, inputs, neuron.steps)
    return _LayerwisePass(network, weights, neuron, supervision, frames).run()


class _LayerwisePass:
    def __init__(
        self,
        network: NetworkSpec,
        weights: PackedNetwork,
        neuron: NeuronSettings,
        supervision: Supervision | None,
        frames: Float[Tensor, "time batch *input"],
    ) -> None:
        self._network, self._neuron, self._supervision = network, neuron, supervision
        self._weights, self._frames = weights, frames
        self._states: dict[_SliceKey, _SliceState] = {}
        self._constant_currents: dict[_SliceKey, _Currents] = {}
        first = weights[network.stages[0].name][0]
        like = first.matrix if isinstance(first, BranchWeights) else first.bias
        matrices = network.matrices if supervision else ()
        in_bytes = supervision is not None and supervision.delta_bits is not None
        self._gradients = GradientSum(matrices, like, in_bytes=in_bytes)
        self._device = like.device
        self._longest = max(segment.stop - segment.start for segment in self._segments())

    @property
    def _batch(self) -> int:
        return self._frames.shape[1]

    def run(self) -> LayerwiseResult:
        for steps in self._segments():
            self._run_segment(steps)
        *hidden, readout = self._network.stages
        rates = {stage.name: self._whole(stage).counted / self._neuron.steps for stage in hidden}
        logits = self._whole(readout).membrane / self._neuron.steps
        return LayerwiseResult(rates, logits, self._gradients.total)

    def _segments(self) -> Iterator[slice]:
        """Yield the segments of steps; one begins at the first step at which the rule learns."""
        steps, supervision = self._neuron.steps, self._supervision
        if supervision is not None and supervision.rule.needs_whole_window:
            yield slice(0, steps)
            return
        first = 0 if supervision is None else supervision.rule.first_step(self._neuron)
        starts = [*range(0, first, STEPS_AT_ONCE), *range(first, steps, STEPS_AT_ONCE), steps]
        for start, stop in pairwise(starts):
            yield slice(start, stop)

    def _run_segment(self, steps: slice) -> None:
        frames = self._frames if len(self._frames) == 1 else self._frames[steps]
        outputs: dict[str | None, Tensor] = {None: frames}
        for index, stage in enumerate(self._network.stages):
            outputs[stage.name] = self._stage(stage, outputs, steps)
            for name in self._no_longer_read(index):
                outputs.pop(name, None)

    def _stage(
        self, stage: Stage, outputs: Mapping[str | None, Tensor], steps: slice
    ) -> UInt8[Tensor, "time batch *neuron"]:
        count = steps.stop - steps.start
        spikes = _empty_spikes((self._batch, count, *stage.output_shape), self._device)
        for samples in sample_slices(stage, self._longest, self._batch, self._device):
            part = _Slice(stage, samples, steps.start)
            currents = self._currents(part, outputs, count)
            if stage.is_readout:
                self._read_out(part, currents)
            else:
                self._fire(part, currents, spikes[:, samples])
        return spikes

    def _currents(
        self, part: _Slice, outputs: Mapping[str | None, Tensor], steps: int
    ) -> _Currents:
        """Return the currents of every step, computed once for a layer that sees held inputs."""
        sources = [outputs[branch.source] for branch in part.stage.branches]
        if any(len(source) != 1 for source in sources):
            return self._computed_currents(part, sources)
        if part.key not in self._constant_currents:
            self._constant_currents[part.key] = self._computed_currents(part, sources)
        inputs, sums = self._constant_currents[part.key]
        return _Currents(inputs, sums.expand(steps, *sums.shape[1:]))

    def _computed_currents(self, part: _Slice, sources: list[Tensor]) -> _Currents:
        weights = self._weights[part.stage.name]
        sliced = [source[:, part.samples] for source in sources]
        inputs = [
            unfold_steps(branch, source, weight.row_type)
            for branch, source, weight in zip(part.stage.branches, sliced, weights, strict=True)
        ]
        first, *others = (
            split_time(weighted_sums(unfolded, weight), len(source))
            for unfolded, weight, source in zip(inputs, weights, sliced, strict=True)
        )
        return _Currents(inputs, sum(others, first))

    def _fire(self, part: _Slice, currents: _Currents, spikes: Tensor) -> None:
        current = currents.sums
        before = self._states.get(part.key)
        held = len(current) > 1 and current.stride(0) == 0
        membranes = torch.empty_like(spikes, dtype=current.dtype) if held else current
        earlier = None if before is None else before.membrane
        # Floats become signed bytes six times as fast as unsigned ones.
        window = LIFWindow(membranes, spikes.view(torch.int8))
        lif_window_into(current, window, self._neuron, earlier)
        counted = None if before is None else before.counted
        count = count_spikes(spikes, current.dtype)
        if counted is not None:
            count += counted
        if (supervision := self._supervision_before(part.start + len(spikes))) is not None:
            target = supervision.targets[part.stage.name][part.samples]
            activity = LayerActivity(spikes, None, membranes, target, part.start, counted)
            self._add(currents, supervision.rule.deltas(activity, self._neuron))
        self._states[part.key] = _SliceState(membranes[-1].clone(), count)

    def _read_out(self, part: _Slice, currents: _Currents) -> None:
        before = self._states.get(part.key)
        sums = currents.sums.cumsum(0)
        if before is not None:
            sums = sums + before.membrane
        if (supervision := self._supervision_before(part.start + len(sums))) is not None:
            loss = supervision.readout_loss.subset(part.samples)
            deltas = supervision.rule.readout_deltas(sums, loss, self._neuron, part.start)
            self._add(currents, deltas)
        self._states[part.key] = _SliceState(sums[-1].clone(), sums[-1])

    def _supervision_before(self, stop: int) -> Supervision | None:
        """Return the supervision if its rule learns at steps before `stop`, else None."""
        supervision = self._supervision
        learns = supervision is not None and stop > supervision.rule.first_step(self._neuron)
        return supervision if learns else None

    def _add(self, currents: _Currents, deltas: Tensor) -> None:
        """Add gradients, weighted: deltas are of the loss's mean over their own samples."""
        self._gradients.add(currents.inputs, deltas, deltas.shape[1] / self._batch)

    def _no_longer_read(self, index: int) -> Iterator[str]:
        """Yield the stages up to this one that no later stage reads."""
        later = self._network.stages[index + 1 :]
        still = {branch.source for stage in later for branch in stage.branches}
        for stage in self._network.stages[: index + 1]:
            if stage.name not in still:
                yield stage.name

    def _whole(self, stage: Stage) -> _SliceState:
        slices = [state for key, state in self._states.items() if key.stage == stage.name]
        return _SliceState(*(torch.cat(tensors) for tensors in zip(*slices, strict=True)))


def _empty_spikes(shape: Shape, device: torch.device) -> UInt8[Tensor, "time batch *neuron"]:
    """Return room for spikes: in memory a sample's steps follow each other, channels innermost."""
    batch, time, *neuron = shape
    if len(neuron) != 3:
        return torch.empty(shape, dtype=torch.uint8, device=device).transpose(0, 1)
    channels, high, wide = neuron
    spikes = torch.empty(batch, time, high, wide, channels, dtype=torch.uint8, device=device)
    return spikes.permute(1, 0, 4, 2, 3)
