"""A chip that holds a network larger than itself, one part after the other.

BrainScaleS-2 runs large networks in this way (Arnold et al., arXiv:2401.16840): the spikes that
were recorded of one part drive the next. Each pass writes its part: programming noise is drawn
anew, and cells wear.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from ltl_core.chip import (
    ChipBackend,
    ChipInfo,
    Fingerprint,
    LayerCodes,
    LayerRecording,
    Observable,
    Placement,
    Recording,
    Stimulus,
    WriteReport,
)
from ltl_core.default_probe import probe_by_run
from ltl_core.errors import ChipError, CodeRangeError, LayerShapeError, SettingError
from ltl_core.network.stages import Stage
from ltl_core.optional_verbs import Written, temperature_of, write_layers
from ltl_core.partitioned.joining import joined, kept
from ltl_core.partitioned.plan import (
    OBSERVER,
    Part,
    Pass,
    check_additions,
    info_in_passes,
    network_of,
    plan_passes,
)


class _Planned(NamedTuple):
    """A pass, and how its layers are driven."""

    made: Pass
    placement: Placement

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(part.stage.name for part in self.made.parts)


class PartitionedChip:
    """The port of a chip whose network is placed in passes; codes are written when it runs.

    `program` and `trim` keep what they get and write nothing; `written` says what the runs wrote.
    The clock of a run advances by its passes and their writes. Registers to tune and side weights
    belong to one part, so that there are none. Every method raises what the chip raises.
    """

    def __init__(self, chip: ChipBackend) -> None:
        """Hold networks on this chip."""
        self._chip = chip
        self._placement: Placement | None = None
        self._passes: tuple[_Planned, ...] = ()
        self._stages: dict[str, Stage] = {}
        self._codes: dict[str, LayerCodes] = {}
        self._failed: dict[str, Bool[Tensor, "column row"]] = {}
        self._loaded: _Planned | None = None
        self._changed: set[str] = set()  # layers whose codes the chip does not hold yet
        self._written = Written()

    @property
    def info(self) -> ChipInfo:
        """Description of the chip, without what belongs to one part."""
        return info_in_passes(self._chip.info)

    @property
    def passes(self) -> int:
        """Number of passes of the placed network; zero if none is placed."""
        return len(self._passes)

    def place(self, placement: Placement) -> None:
        """Plan the passes; see `ChipBackend`. The chip is left alone until it runs."""
        if placement == self._placement:
            return
        check_additions(placement.network)
        planned = plan_passes(placement.network, self.info)
        missing = [s.name for s in placement.network.stages if s.name not in placement.layers]
        if missing:
            raise SettingError(f"Layer '{missing[0]}' has no settings.")
        self._passes = tuple(_planned(made, placement) for made in planned)
        self._stages = {stage.name: stage for stage in placement.network.stages}
        self._codes = {name: _zeros(stage) for name, stage in self._stages.items()}
        self._failed = {
            name: torch.zeros(codes.weight.shape, dtype=torch.bool)
            for name, codes in self._codes.items()
        }
        self._placement, self._loaded = placement, None

    def program(self, layer: str, codes: Int[Tensor, "column row"]) -> WriteReport:
        """Keep the codes; the report names the cells that failed when they were written last."""
        before, top = self._codes_of(layer), self.info.weight_code_max
        _check(layer, "weight", codes, before.weight, (-top, top))
        self._codes[layer] = before._replace(weight=codes.clone())
        self._changed.add(layer)
        return WriteReport(0, 0, self._failed[layer])

    def trim(
        self, layer: str, threshold: Int[Tensor, " column"], bias: Int[Tensor, " column"]
    ) -> None:
        """Keep the trims; see `ChipBackend`."""
        before = self._codes_of(layer)
        limits = (self.info.trim_code_min, self.info.trim_code_max)
        _check(layer, "threshold trim", threshold, before.threshold, limits)
        _check(layer, "bias trim", bias, before.bias, limits)
        self._codes[layer] = before._replace(threshold=threshold.clone(), bias=bias.clone())
        self._changed.add(layer)

    def run(self, stimulus: Stimulus, record: Mapping[str, Observable]) -> Recording:
        """Present the stimulus to its part, and the spikes of each part to the next."""
        first = self._first_pass(stimulus, record)
        last = max((self._pass_of(name) for name in record), default=first)
        shown: dict[str, LayerRecording] = {}
        signal, index = stimulus, first
        while index <= last:
            group = self._same_layers(index)
            parts = [self._run_pass(at, signal, record, spikes=group[-1] < last) for at in group]
            found = {name: joined([part[name] for part in parts]) for name in parts[0]}
            shown |= {name: kept(found[name], record[name]) for name in found if name in record}
            index = group[-1] + 1
            if index <= last:
                spikes = found[self._passes[index - 1].names[-1]].spikes
                signal = self._spikes_into(index, spikes, stimulus.steps)
        return Recording({name: shown[name] for name in record}, self._chip.now())

    def probe(self) -> Fingerprint:
        """Present a fixed random input; see `probe_by_run`."""
        return probe_by_run(self, self._placement)

    def settle(self, seconds: float) -> None:
        """Leave the chip alone for `seconds` of its own clock."""
        self._chip.settle(seconds)

    def now(self) -> float:
        """Return the chip's clock, s."""
        return self._chip.now()

    def temperature(self) -> float | None:
        """Return the temperature of the chip, K; None if it has none."""
        return temperature_of(self._chip)

    def written(self) -> Written:
        """Return what the runs have written so far."""
        return self._written

    def _run_pass(
        self, index: int, stimulus: Stimulus, record: Mapping[str, Observable], *, spikes: bool
    ) -> Mapping[str, LayerRecording]:
        """Make one pass; with `spikes`, record those of its last layer."""
        planned = self._passes[index]
        self._load(planned)
        asked = {name: record[name] for name in planned.names if name in record}
        if spikes and asked.get(planned.names[-1]) in (None, Observable.COUNTS):
            asked[planned.names[-1]] = Observable.SPIKES
        ordered = {name: asked[name] for name in planned.names if name in asked}
        return self._chip.run(stimulus, ordered).layers

    def _load(self, planned: _Planned) -> None:
        """Place a part and write it, if it does not stand on the chip; else what has changed."""
        if planned is not self._loaded:
            self._loaded = None  # of no use if the chip fails meanwhile
            self._chip.place(planned.placement)
            self._changed |= set(planned.names)
        self._write([part for part in planned.made.parts if part.stage.name in self._changed])
        self._changed -= set(planned.names)
        self._loaded = planned

    def _write(self, parts: Sequence[Part]) -> None:
        codes = {part.stage.name: _columns_of(self._codes[part.stage.name], part) for part in parts}
        reports = write_layers(self._chip, codes)
        for part in parts:
            name, report, before = part.stage.name, reports[part.stage.name], self._written
            self._failed[name] = self._failed[name].clone()
            self._failed[name][part.first : part.end] = report.failed
            self._written = Written(before.cells + report.cells, before.pulses + report.pulses)

    def _codes_of(self, layer: str) -> LayerCodes:
        if layer not in self._codes:
            raise ChipError(f"No layer '{layer}' is placed on the chip.")
        return self._codes[layer]

    def _pass_of(self, layer: str) -> int:
        """Return the number of the last pass of a layer."""
        self._codes_of(layer)
        return max(at for at, planned in enumerate(self._passes) if layer in planned.names)

    def _first_pass(self, stimulus: Stimulus, record: Mapping[str, Observable]) -> int:
        """Return the number of the first pass. Raises what `run` raises of the stimulus."""
        if not self._passes:
            raise ChipError("No network is placed on the chip: place one first.")
        if stimulus.layer is None:
            return 0
        self._codes_of(stimulus.layer)
        first = min(at for at, p in enumerate(self._passes) if stimulus.layer in p.names)
        names = list(self._stages)
        for name in record:
            self._codes_of(name)
            if names.index(name) < names.index(stimulus.layer):
                raise ChipError(f"The stimulus does not reach layer '{name}'.")
        return first

    def _same_layers(self, index: int) -> list[int]:
        """Return the numbers of all passes from this one on that hold parts of the same layer."""
        names = self._passes[index].names
        same = [index]
        while same[-1] + 1 < len(self._passes) and self._passes[same[-1] + 1].names == names:
            same.append(same[-1] + 1)
        return same

    def _spikes_into(self, index: int, spikes: Tensor | None, steps: int) -> Stimulus:
        if spikes is None:
            raise ChipError("The chip's driver returned no spikes of a layer that drives the next.")
        return Stimulus(spikes.float(), steps, self._passes[index].names[0])


def _planned(made: Pass, placement: Placement) -> _Planned:
    settings = {part.stage.name: placement.layers[part.stage.name] for part in made.parts}
    if not made.parts[-1].stage.is_readout:
        settings[OBSERVER] = settings[made.parts[-1].stage.name]
    is_first = made.parts[0].stage.source is None
    top = placement.input_full_scale if is_first else 1.0
    return _Planned(made, Placement(network_of(made), settings, top))


def _columns_of(codes: LayerCodes, part: Part) -> LayerCodes:
    return LayerCodes(*(field[part.first : part.end].contiguous() for field in codes))


def _zeros(stage: Stage) -> LayerCodes:
    nothing = torch.zeros(stage.columns, dtype=torch.int64)
    return LayerCodes(torch.zeros(stage.columns, stage.rows, dtype=torch.int64), nothing, nothing)


def _check(layer: str, what: str, codes: Tensor, like: Tensor, limits: tuple[int, int]) -> None:
    if codes.shape != like.shape or codes.is_floating_point():
        expected, found = tuple(like.shape), tuple(codes.shape)
        raise LayerShapeError(layer, expected, found, f"integer {what} codes")
    if codes.numel() and (codes.min() < limits[0] or codes.max() > limits[1]):
        raise CodeRangeError(layer, what, *limits)
