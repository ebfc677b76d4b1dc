"""Drift compensation: a chip is brought back by its registers; no sample of the lab, no label.

The conductance of a phase-change cell falls as (t / t0) ** -nu, so that the sums of a layer shrink
by nearly one factor. A gain makes up for it (global drift compensation: Joshi et al., Nature
Communications 11, 2473, 2020). But nu depends on the conductance: small weights shrink more than
large ones. So columns need gains of their own, and an offset each.

The chip is shown synthetic stimuli, and its columns have to answer as those of the golden student.
Layers follow one another from the first, because the input of a layer is right once the layers
below it are. Each is measured with a few gains, then with a few offsets; `sweep` tells which ones
its columns take.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from ltl_core.calibration.column_registers import with_gain, with_offset
from ltl_core.calibration.drift import (
    Drift,
    MeanFingerprint,
    drift_between,
    measure_fingerprint,
)
from ltl_core.calibration.sweep import Responses, best_value, best_values, by_column
from ltl_core.chip import ChipBackend, Placement
from ltl_core.errors import NotTunableError, SettingError
from ltl_core.network.stages import Stage
from ltl_core.optional_verbs import tunable
from ltl_core.progress import Phase, Progress
from ltl_core.teaching.targets import TargetSet

# Logarithms of gains of a sweep, beside 0. Single columns need more than their layer as a whole.
_GAINS = (-0.35, 0.35, 0.9)
_GAIN_STEP = 0.5  # between further ones, if the largest is the best for the whole layer
_GAIN_MAX = 2.0  # no larger one than this and a step is tried
# Spread of the logarithms of the gains of a layer's columns: 0.1 to 0.4 after 30 days, simulated;
# most where columns have few cells.
_GAIN_SPREAD = 0.4
_OFFSETS = (-4.0, 0.0, 4.0)  # LSB of a converter
_OFFSET_SPREAD = 3.0  # LSB

StageResponses = Mapping[str, Float[Tensor, "sample *_neuron"]]
_Seen = Mapping[str, Responses]  # by stage


class LayerFactor(NamedTuple):
    """The gain that one layer was given, as a multiple of the gain before."""

    layer: str
    factor: float  # geometric mean over the columns


class CompensationResult(NamedTuple):
    """What a compensation found and brought."""

    layers: tuple[LayerFactor, ...]  # all 1 if the old registers were put back
    before: Drift
    after: Drift  # with the registers that are in force at the end
    compensated: bool  # if not, the readout did not come nearer to the golden student


class Compensation:
    """Compensates the drift of one chip, on which `placement` with the fingerprint's network is.

    `steps` yields a Progress after each step; between two of them the caller may `roll_back`.
    Every method raises what the chip raises.
    """

    def __init__(
        self,
        chip: ChipBackend,
        placement: Placement,
        published: MeanFingerprint,
        stimuli: TargetSet,
        respond: Callable[[Tensor], StageResponses],
    ) -> None:
        """Read the registers as they are. `stimuli` have the golden student's answers as targets.

        `respond` returns the chip's responses to inputs, by stage. Raises NotTunableError if the
        chip has no registers, and ValueError if the targets have no logits.
        """
        self._chip, self._published, self._placement = chip, published, placement
        self._layers = {
            stage.name: _Layer(chip, stage, self._measured) for stage in placement.network.stages
        }
        self._readout = placement.network.stages[-1].name
        self._wanted = _wanted(stimuli, self._readout)
        self._inputs, self._respond = stimuli.samples.inputs, respond
        self._step = 0
        self._result: CompensationResult | None = None

    @property
    def result(self) -> CompensationResult:
        """Result of the compensation. Raises SettingError before `steps` has ended."""
        if self._result is None:
            raise SettingError("The compensation has not ended: run its steps first.")
        return self._result

    def steps(self) -> Iterator[Progress]:
        """Measure, set layer by layer, measure again; keep it if the readout came nearer.

        Raises FingerprintError if the fingerprint is of another network.
        """
        before = self._drift()
        seen = first = self._measured()
        yield self._progress(Phase.PROBING)
        for name, layer in self._layers.items():
            seen = layer.compensate(seen, self._wanted[name])
            yield self._progress(Phase.TUNING)
        compensated = self._distance(seen) < self._distance(first)
        if not compensated:
            self.roll_back()
        factors = tuple(LayerFactor(name, of.factor) for name, of in self._layers.items())
        after = self._drift() if compensated else before
        self._result = CompensationResult(factors, before, after, compensated)
        yield self._progress(Phase.PROBING)

    def roll_back(self) -> None:
        """Put back the registers of the start."""
        for layer in self._layers.values():
            layer.roll_back()

    def _drift(self) -> Drift:
        return drift_between(
            measure_fingerprint(self._chip, placement=self._placement), self._published
        )

    def _measured(self) -> _Seen:
        return {name: by_column(of) for name, of in self._respond(self._inputs).items()}

    def _distance(self, seen: _Seen) -> float:
        """Return the mean square error of the readout's answers."""
        return float((seen[self._readout] - self._wanted[self._readout]).square().mean())

    def _progress(self, phase: Phase) -> Progress:
        self._step += 1
        return Progress(phase, self._step, len(self._layers) + 2)


class _Layer:
    """One layer: the registers that it began with, and the search for better ones."""

    def __init__(self, chip: ChipBackend, stage: Stage, measure: Callable[[], _Seen]) -> None:
        """Read the registers. `measure` shows the stimuli. Raises NotTunableError."""
        self._tunable, self._stage, self._measure = tunable(chip), stage, measure
        info = chip.info.tuning
        if info is None:
            raise NotTunableError(chip.info.chip_id)
        self._info = info
        self._initial = self._tunable.tuning(stage.name)
        self._log_gain = torch.zeros(stage.columns, dtype=torch.float64)

    @property
    def factor(self) -> float:
        """Geometric mean of the gains that are set, as multiples of those of the start."""
        return float(self._log_gain.mean().exp())

    def compensate(self, seen: _Seen, wanted: Responses) -> _Seen:
        """Set the gains of the columns, then their offsets.

        `seen` is what the chip answers with the registers of before; what it answers with those
        that are left is returned.
        """
        gain = self._best_gains(seen, wanted)
        offset = self._best_offsets(gain, wanted)
        return self._measured(gain, offset)

    def roll_back(self) -> None:
        """Put back the registers of the start."""
        self._tunable.tune(self._stage.name, self._initial)
        self._log_gain = torch.zeros_like(self._log_gain)

    def _best_gains(self, seen: _Seen, wanted: Responses) -> Float[Tensor, " column"]:
        """Sweep the gain, further up while that is the best for the whole layer."""
        name, zero = self._stage.name, torch.zeros_like(self._log_gain)
        sweep = {0.0: seen[name]}
        for value in _GAINS:
            sweep[value] = self._measured(zero + value, zero)[name]
        while (largest := max(sweep)) < _GAIN_MAX and best_value(sweep, wanted) == largest:
            value = largest + _GAIN_STEP
            sweep[value] = self._measured(zero + value, zero)[name]
        return best_values(sweep, wanted, _GAIN_SPREAD)

    def _best_offsets(
        self, log_gain: Float[Tensor, " column"], wanted: Responses
    ) -> Float[Tensor, " column"]:
        """Sweep the offset with the gains that were found."""
        name, zero = self._stage.name, torch.zeros_like(log_gain)
        sweep = {value: self._measured(log_gain, zero + value)[name] for value in _OFFSETS}
        return best_values(sweep, wanted, _OFFSET_SPREAD, centre=0.0)

    def _measured(
        self, log_gain: Float[Tensor, " column"], offset: Float[Tensor, " column"]
    ) -> _Seen:
        """Set gains and offsets, and return what the chip answers."""
        self._set(log_gain, offset)
        return self._measure()

    def _set(self, log_gain: Float[Tensor, " column"], offset: Float[Tensor, " column"]) -> None:
        tuning = with_gain(
            self._initial, log_gain.exp(), self._info, is_readout=self._stage.is_readout
        )
        self._tunable.tune(self._stage.name, with_offset(tuning, offset, self._info))
        self._log_gain = log_gain


def _wanted(stimuli: TargetSet, readout: str) -> dict[str, Responses]:
    """Return what the columns should answer, by stage."""
    (batch,) = stimuli.batches(stimuli.size)
    if batch.logits is None:
        raise ValueError("The targets of the stimuli have no logits.")
    return {name: by_column(of) for name, of in {**batch.rates, readout: batch.logits}.items()}
