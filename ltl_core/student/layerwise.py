"""One pass over a student: layer by layer, in a layer a few samples at a time, learning on the way.

The steps of a layer's neurons, its deltas and its weight gradient follow on each other while their
numbers are still in the cache; what outlives a layer are its spikes, until the last layer that
reads them has. A rule that needs no later steps is run a few steps at a time, so that its memory
does not grow with time.
"""

from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import NamedTuple

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from ltl_core.network.layers import Shape
from ltl_core.network.spec import NetworkSpec
from ltl_core.network.stages import Stage
from ltl_core.rules.rule import LayerActivity, Rule
from ltl_core.settings import NeuronSettings
from ltl_core.spiking.forward import Weights, as_frames
from ltl_core.spiking.gradient import Gradient, GradientSum, sample_slices, split_time, unfold_steps
from ltl_core.spiking.linear import (
    BranchWeights,
    PackedWeights,
    UnfoldedInput,
    branch_weights,
    weighted_sums,
)
from ltl_core.spiking.neuron import LIFWindow, count_spikes, lif_window_into
from ltl_core.teaching.readout import ReadoutLoss

_STEPS_AT_ONCE = 4  # of a rule that looks at no later steps

PackedNetwork = Mapping[str, tuple[PackedWeights, ...]]


class Supervision(NamedTuple):
    """What a batch teaches, and by which rule; `delta_bits` as in the settings."""

    rule: Rule
    targets: Mapping[str, Float[Tensor, "batch *_neuron"]]
    readout_loss: ReadoutLoss
    delta_bits: int | None = None


class LayerwiseResult(NamedTuple):
    """What a student did, and, where it learned, how each matrix should change."""

    rates: dict[str, Float[Tensor, "batch *_neuron"]]
    logits: Float[Tensor, "batch output"]
    gradients: dict[str, Gradient]


class _State(NamedTuple):
    """What a few samples of a layer carry from one segment of steps to the next."""

    membrane: Float[Tensor, "n *neuron"]  # of the readout, its running sum
    counted: Float[Tensor, "n *neuron"]


class _Part(NamedTuple):
    """Some steps of some samples of one layer."""

    stage: Stage
    samples: slice
    start: int
    rows: list[UnfoldedInput]


def layerwise_forward(
    network: NetworkSpec,
    weights: Weights,
    inputs: Float[Tensor, "batch *shape"],
    neuron: NeuronSettings,
    supervision: Supervision | None = None,
) -> LayerwiseResult:
    """The student's rates and logits over the whole window; with a supervision, its gradients.

    Inputs are images, held for all steps, or sequences of as many frames as there are steps.
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
    """The same with weights that are packed already, by stage and branch."""
    return _LayerwisePass(network, weights, neuron, supervision).over(
        as_frames(network, inputs, neuron.steps)
    )


class _LayerwisePass:
    def __init__(
        self,
        network: NetworkSpec,
        weights: PackedNetwork,
        neuron: NeuronSettings,
        supervision: Supervision | None,
    ) -> None:
        self._network, self._neuron, self._supervision = network, neuron, supervision
        self._weights = weights
        self._states: dict[tuple[str, int], _State] = {}
        self._held: dict[tuple[str, int], tuple[list[UnfoldedInput], Tensor]] = {}
        first = weights[network.stages[0].name][0]
        like = first.matrix if isinstance(first, BranchWeights) else first.bias
        learned = network.matrices if supervision else ()
        in_bytes = supervision is not None and supervision.delta_bits is not None
        self._gradients = GradientSum(learned, like, in_bytes=in_bytes)
        self._device = like.device
        self._longest = max(part.stop - part.start for part in self._segments())

    def over(self, frames: Float[Tensor, "time batch *input"]) -> LayerwiseResult:
        batch = frames.shape[1]
        for steps in self._segments():
            shown: dict[str | None, Tensor] = {None: frames if len(frames) == 1 else frames[steps]}
            for place, stage in enumerate(self._network.stages):
                shown[stage.name] = self._stage(stage, shown, steps, batch)
                for name in self._no_longer_read(place):
                    shown.pop(name, None)
        *hidden, readout = self._network.stages
        rates = {stage.name: self._whole(stage).counted / self._neuron.steps for stage in hidden}
        logits = self._whole(readout).membrane / self._neuron.steps
        return LayerwiseResult(rates, logits, self._gradients.total)

    def _segments(self) -> Iterator[slice]:
        """Boundaries never cut through the first step that learns."""
        steps, supervision = self._neuron.steps, self._supervision
        if supervision is not None and supervision.rule.needs_whole_window:
            yield slice(0, steps)
            return
        first = 0 if supervision is None else supervision.rule.first_step(self._neuron)
        starts = [*range(0, first, _STEPS_AT_ONCE), *range(first, steps, _STEPS_AT_ONCE), steps]
        for start, stop in pairwise(starts):
            yield slice(start, stop)

    def _stage(
        self, stage: Stage, shown: Mapping[str | None, Tensor], steps: slice, batch: int
    ) -> UInt8[Tensor, "time batch *neuron"]:
        count = steps.stop - steps.start
        spikes = _empty_spikes((batch, count, *stage.output_shape), self._device)
        for samples in sample_slices(stage, self._longest, batch, self._device):
            rows, current = self._currents(stage, shown, samples, count)
            part = _Part(stage, samples, steps.start, rows)
            if stage.is_readout:
                self._read_out(part, current, batch)
            else:
                self._fire(part, current, spikes[:, samples], batch)
        return spikes

    def _currents(
        self, stage: Stage, shown: Mapping[str | None, Tensor], samples: slice, steps: int
    ) -> tuple[list[UnfoldedInput], Float[Tensor, "time n *neuron"]]:
        """Of a layer that sees the held input alone they are the same at every step."""
        sources = [shown[branch.source] for branch in stage.branches]
        constant = all(len(source) == 1 for source in sources)
        key = (stage.name, samples.start)
        if constant and key in self._held:
            rows, sums = self._held[key]
        else:
            rows, sums = self._weighted_sums(stage, [source[:, samples] for source in sources])
        if not constant:
            return rows, sums
        self._held[key] = (rows, sums)
        return rows, sums.expand(steps, *sums.shape[1:])

    def _weighted_sums(
        self, stage: Stage, sources: list[Tensor]
    ) -> tuple[list[UnfoldedInput], Float[Tensor, "time n *neuron"]]:
        weights = self._weights[stage.name]
        ways = zip(stage.branches, sources, weights, strict=True)
        rows = [unfold_steps(branch, source, weight.row_type) for branch, source, weight in ways]
        parts = [
            split_time(weighted_sums(packed, weight), len(source))
            for packed, weight, source in zip(rows, weights, sources, strict=True)
        ]
        total = parts[0]
        for other in parts[1:]:
            total = total + other
        return rows, total

    def _fire(self, part: _Part, current: Tensor, spikes: Tensor, batch: int) -> None:
        before = self._states.get((part.stage.name, part.samples.start))
        held = len(current) > 1 and current.stride(0) == 0
        membranes = torch.empty_like(spikes, dtype=current.dtype) if held else current
        earlier = None if before is None else before.membrane
        # Floats become signed bytes six times as fast as unsigned ones.
        lif_window_into(
            current, LIFWindow(membranes, spikes.view(torch.int8)), self._neuron, earlier
        )
        counted = None if before is None else before.counted
        count = count_spikes(spikes, current.dtype)
        if counted is not None:
            count += counted
        if (supervision := self._supervision_before(part.start + len(spikes))) is not None:
            target = supervision.targets[part.stage.name][part.samples]
            activity = LayerActivity(spikes, None, membranes, target, part.start, counted)
            self._add(part, supervision.rule.deltas(activity, self._neuron), batch)
        self._states[part.stage.name, part.samples.start] = _State(membranes[-1].clone(), count)

    def _read_out(self, part: _Part, current: Tensor, batch: int) -> None:
        before = self._states.get((part.stage.name, part.samples.start))
        sums = current.cumsum(0) if before is None else current.cumsum(0) + before.membrane
        if (supervision := self._supervision_before(part.start + len(sums))) is not None:
            readout_loss = supervision.readout_loss.subset(part.samples)
            deltas = supervision.rule.readout_deltas(sums, readout_loss, self._neuron, part.start)
            self._add(part, deltas, batch)
        self._states[part.stage.name, part.samples.start] = _State(sums[-1].clone(), sums[-1])

    def _supervision_before(self, stop: int) -> Supervision | None:
        """The supervision, if its rule learns at steps before `stop`."""
        supervision = self._supervision
        late = supervision is not None and stop > supervision.rule.first_step(self._neuron)
        return supervision if late else None

    def _add(self, part: _Part, deltas: Tensor, batch: int) -> None:
        """Deltas are of the mean over their own samples, so they count by their part of all."""
        self._gradients.add(part.rows, deltas, deltas.shape[1] / batch)

    def _no_longer_read(self, place: int) -> Iterator[str | None]:
        later = self._network.stages[place + 1 :]
        still = {branch.source for stage in later for branch in stage.branches}
        for stage in self._network.stages[: place + 1]:
            if stage.name not in still:
                yield stage.name

    def _whole(self, stage: Stage) -> _State:
        parts = [state for (name, _), state in self._states.items() if name == stage.name]
        return _State(*(torch.cat(tensors) for tensors in zip(*parts, strict=True)))


def _empty_spikes(shape: Shape, device: torch.device) -> UInt8[Tensor, "time batch *neuron"]:
    """Each sample's steps follow on each other, channels innermost."""
    batch, time, *neuron = shape
    if len(neuron) != 3:
        return torch.empty(shape, dtype=torch.uint8, device=device).transpose(0, 1)
    channels, high, wide = neuron
    spikes = torch.empty(batch, time, high, wide, channels, dtype=torch.uint8, device=device)
    return spikes.permute(1, 0, 4, 2, 3)
