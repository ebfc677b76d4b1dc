"""Drift compensation: a chip is brought back by its gain registers; no sample and no label.

The conductance of a phase-change cell falls as (t / t0) ** -nu, with nearly one nu for all cells,
so that the column sums of a layer shrink by nearly one factor. A gain makes up for it (global drift
compensation: Joshi et al., Nature Communications 11, 2473, 2020). The factor is found from the
mean rates r of the columns under the chip's fixed stimulus and those at publication, q: with x the
logarithm of the gain and s = dr / dx,

    x <- x + sum_c s_c (q_c - r_c) / sum_c s_c^2

where s is the secant through two measurements. Layers follow one another from the first, because
the input of a layer is right once the layers below it are. Then each column c departs from its
layer by the most probable gain, given that gains of columns differ by tau, and that chance and the
noise of single cells leave an error a in the rate:

    x_c = x + tau^2 s_c e_c / (tau^2 s_c^2 + a^2),    a^2 = max(mean e^2 - tau^2 mean s^2, n)

with e = q - r, and n the variance that chance leaves in it.
"""

import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from ltl_core.calibration.drift import (
    Drift,
    LayerDrift,
    MeanFingerprint,
    drift_between,
    measure_fingerprint,
)
from ltl_core.calibration.gain_registers import with_gain
from ltl_core.chip import ChipBackend, Placement
from ltl_core.errors import NotTunableError, SettingError
from ltl_core.network.stages import Stage
from ltl_core.optional_verbs import tunable
from ltl_core.progress import Phase, Progress

_PROBES = 2  # of each measurement in the search: a gain is found from many columns
_FIRST_STEP = 0.1  # least change of the logarithm of the gain by which a slope is measured
_STEP_MAX = 0.5  # largest change of it in one step: a factor of 1.6
_GAIN_MAX = math.log(4.0)  # largest gain in all, and smallest
# tau: the logarithms of columns' gains differ by 0.01 to 0.2 after 30 days, simulated; most where
# columns have few cells.
_COLUMN_SPREAD = 0.15


class LayerFactor(NamedTuple):
    """The gain that one layer was given, as a multiple of the gain before."""

    layer: str
    factor: float  # geometric mean over the columns


class CompensationResult(NamedTuple):
    """What a compensation found and brought."""

    layers: tuple[LayerFactor, ...]  # all 1 if the old registers were put back
    before: Drift
    after: Drift  # with the registers that are in force at the end
    compensated: bool  # if not, the fingerprint did not come nearer


class _Point(NamedTuple):
    """Gains of a layer's columns, and what the chip answered with them."""

    log_gain: Float[Tensor, " column"]
    rates: Float[Tensor, " column"]
    drift: LayerDrift
    seen: MeanFingerprint  # of all layers


class Compensation:
    """Compensates the drift of one chip, on which `placement` with the fingerprint's network is.

    `steps` yields a Progress after each step; between two of them the caller may `roll_back`.
    Every method raises what the chip raises.
    """

    def __init__(self, chip: ChipBackend, placement: Placement, published: MeanFingerprint) -> None:
        """Read the registers as they are. Raises NotTunableError if the chip has none."""
        self._chip, self._published = chip, published
        self._probe = partial(measure_fingerprint, chip, placement=placement)
        self._layers = {
            stage.name: _Layer(chip, stage, published, self._probe)
            for stage in placement.network.stages
        }
        self._step = 0
        self._result: CompensationResult | None = None

    @property
    def result(self) -> CompensationResult:
        """Result of the compensation. Raises SettingError before `steps` has ended."""
        if self._result is None:
            raise SettingError("The compensation has not ended: run its steps first.")
        return self._result

    def steps(self) -> Iterator[Progress]:
        """Measure, find the gains layer by layer, measure again; keep them if the drift fell.

        Raises FingerprintError if the fingerprint is of another network.
        """
        seen = self._probe()
        before = drift_between(seen, self._published)
        yield self._progress(Phase.PROBING)
        for layer in self._layers.values():
            seen = layer.compensate(seen)
            yield self._progress(Phase.TUNING)
        after = drift_between(self._probe(), self._published)
        compensated = after.score < before.score
        if not compensated:
            self.roll_back()
        factors = tuple(LayerFactor(name, of.factor) for name, of in self._layers.items())
        self._result = CompensationResult(
            factors, before, after if compensated else before, compensated
        )
        yield self._progress(Phase.PROBING)

    def roll_back(self) -> None:
        """Put back the registers of the start."""
        for layer in self._layers.values():
            layer.roll_back()

    def _progress(self, phase: Phase) -> Progress:
        self._step += 1
        return Progress(phase, self._step, len(self._layers) + 2)


class _Layer:
    """One layer: the registers that it began with, and the search for its gains."""

    def __init__(
        self,
        chip: ChipBackend,
        stage: Stage,
        published: MeanFingerprint,
        probe: Callable[[int], MeanFingerprint],
    ) -> None:
        """Read the registers. `probe` probes the chip so often. Raises NotTunableError."""
        self._probe, self._tunable, self._stage = probe, tunable(chip), stage
        info = chip.info.tuning
        if info is None:
            raise NotTunableError(chip.info.chip_id)
        self._info, self._published = info, published
        self._initial = self._tunable.tuning(stage.name)
        self._log_gain = torch.zeros(stage.columns, dtype=torch.float64)

    @property
    def factor(self) -> float:
        """Geometric mean of the gains that are set, as multiples of those of the start."""
        return float(self._log_gain.mean().exp())

    def compensate(self, seen: MeanFingerprint) -> MeanFingerprint:
        """Search the gain of the layer, then those of its columns; leave the best ones set.

        `seen` is what the chip answers with the gains of before; what it answers with the gains
        that are left is returned. A layer that answers as it did at publication is left alone.
        """
        first = self._point(seen)
        if first.drift.score == 0:
            return seen
        points = [first, self._measure(first.log_gain + self._first_step(first))]
        points.append(self._measure(self._secant(points)))
        best = min(points, key=_change)
        columns = self._measure(best.log_gain + self._departures(points, best))
        if _change(columns) <= _change(best):
            return columns.seen
        self._set(best.log_gain)
        return best.seen

    def roll_back(self) -> None:
        """Put back the registers of the start."""
        self._tunable.tune(self._stage.name, self._initial)
        self._log_gain = torch.zeros_like(self._log_gain)

    def _set(self, log_gain: Float[Tensor, " column"]) -> None:
        tuning = with_gain(
            self._initial, log_gain.exp(), self._info, is_readout=self._stage.is_readout
        )
        self._tunable.tune(self._stage.name, tuning)
        self._log_gain = log_gain

    def _measure(self, log_gain: Float[Tensor, " column"]) -> _Point:
        """Set the gains, and measure the layer with them."""
        self._set(log_gain)
        return self._point(self._probe(_PROBES))

    def _point(self, seen: MeanFingerprint) -> _Point:
        """Describe the layer, with the gains that are set, by what the chip answered."""
        name = self._stage.name
        (drift,) = (of for of in drift_between(seen, self._published).layers if of.layer == name)
        return _Point(self._log_gain, seen.rates[name].double(), drift, seen)

    def _first_step(self, first: _Point) -> float:
        """Return the step that would be right if rates were proportional to the gain."""
        q, r = self._target, first.rates
        ratio = float((q * r).sum() / (r * r).sum().clamp(min=1e-12))
        step = min(max(math.log(max(ratio, 1e-3)), -_STEP_MAX), _STEP_MAX)
        return math.copysign(max(abs(step), _FIRST_STEP), step)

    def _secant(self, points: list[_Point]) -> Float[Tensor, " column"]:
        """Return the gains of the next measurement: one step for all columns."""
        last, slope = points[-1], _slope(points)
        step = (slope * (self._target - last.rates)).sum() / slope.square().sum().clamp(min=1e-12)
        found = last.log_gain + step.clamp(-_STEP_MAX, _STEP_MAX)
        return found.clamp(-_GAIN_MAX, _GAIN_MAX)

    def _departures(self, points: list[_Point], best: _Point) -> Float[Tensor, " column"]:
        """Return how far the logarithm of each column's gain departs from its layer's."""
        slope, missing = _slope(points), self._target - best.rates
        gains = (_COLUMN_SPREAD * slope).square()
        rest = max(float((missing.square() - gains).mean()), best.drift.noise**2, 1e-12)
        return _COLUMN_SPREAD**2 * slope * missing / (gains + rest)

    @property
    def _target(self) -> Float[Tensor, " column"]:
        return self._published.rates[self._stage.name].double()


def _slope(points: list[_Point]) -> Float[Tensor, " column"]:
    """Return the rise of each column's rate with the logarithm of the gain.

    It is the secant from the last point to the farthest, whose noise is the least.
    """
    last = points[-1]
    other = max(points, key=lambda point: abs(float(point.log_gain[0] - last.log_gain[0])))
    return (last.rates - other.rates) / (last.log_gain - other.log_gain)


def _change(point: _Point) -> float:
    return point.drift.change
