"""The loss curve of a golden student, found in software: points of accuracy lost at a drift score.

A chip that was just calibrated is the golden student with faults that cost about a point. Drift
takes something from every cell: a common factor, a part of each column's own, and a part of each
cell's own, each lognormal. At a sweep of strengths the perturbed student answers what a chip is
asked: the probe, from which follows the drift score, and samples, from which follows the loss
(`judge.compare`, without labels). The curve is the isotonic regression of the loss on the score;
the scatter around it says how differently two chips of one score may do.
"""

import math
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from ltl_core.calibration.drift import MeanFingerprint, drift_between
from ltl_core.calibration.judge import compare
from ltl_core.calibration.prediction import LossCurve
from ltl_core.calibration.watch import WatchedSamples
from ltl_core.spiking.forward import Weights
from ltl_core.spiking.inputs import unscaled_inputs
from ltl_core.student.layerwise import layerwise_forward
from ltl_core.student.student import Student

_CHUNK = 64  # samples at a time
_PROBES = 16  # random inputs over the full scale, as a chip is probed with
_CHIPS, _STEPS = 6, 6  # number of faulty students, and of strengths of drift of each
_STRENGTHS = (0.06, 0.9)  # common part, as -ln of the factor: a few hours to many years of drift
_COLUMN_SHARE = 0.15  # standard deviation of a column's own part, as a multiple of the common one
_CELL_SHARES = (0.3, 0.9)  # likewise of a cell's own part: calm devices and restless ones
_FAULTS = tuple(0.5 * 0.8**step for step in range(16))  # relative, of cells; largest first
_TOLERATED = 1.0  # points that faults may cost: a calibration leaves less
_CHIP_SPREAD = 0.3  # standard deviation of ln(points + 1/2) from what the sweep leaves out


class _Answers(NamedTuple):
    """What a student answers to the probe, and to the samples."""

    fingerprint: MeanFingerprint
    logits: Float[Tensor, "sample output"]


class _SweepPoint(NamedTuple):
    score: float
    points: float


def loss_curve(student: Student, watched: WatchedSamples, seed: int = 0) -> LossCurve:
    """Find the loss curve of a student on watched samples, in software.

    It takes some 50 passes over the samples. Raises LayerShapeError if they are not inputs of the
    student's network.
    """
    sweep = _DriftSweep(student, watched, seed)
    points_of_sweep = sorted(sweep.points_of_sweep())
    scores, points = _isotonic(points_of_sweep)
    curve = LossCurve((0.0, *scores), (0.0, *points), 0.0)
    return curve._replace(spread=math.hypot(_scatter(curve, points_of_sweep), _CHIP_SPREAD))


class _DriftSweep:
    """Perturbs one student, and compares its answers with those of the golden one."""

    def __init__(self, student: Student, watched: WatchedSamples, seed: int) -> None:
        self._student, self._are_values = student, watched.are_values
        self._generator = torch.Generator().manual_seed(seed)
        shape = (_PROBES, *student.network.input_shape)
        probe = torch.rand(shape, generator=self._generator) * student.input_full_scale
        probe = unscaled_inputs(student.network, probe)
        self._inputs = torch.cat((probe, watched.targets.samples.inputs))
        self._weights = student.weights()
        self._golden = self._answers(self._weights)

    def points_of_sweep(self) -> Iterator[_SweepPoint]:
        """Yield score and loss of faulty students at all strengths of drift."""
        faults = self._tolerated_faults()
        first, last = (math.log(strength) for strength in _STRENGTHS)
        for chip in range(_CHIPS):
            weights = self._faulty(faults)
            before = self._answers(weights)
            for step in range(_STEPS):
                place = (step + (chip + 0.5) / _CHIPS) / _STEPS
                share = _CELL_SHARES[(step + chip) % len(_CELL_SHARES)]
                drifted = self._drifted(weights, math.exp(first + place * (last - first)), share)
                yield self._point(self._answers(drifted), before)

    def _point(self, now: _Answers, before: _Answers) -> _SweepPoint:
        score = drift_between(now.fingerprint, before.fingerprint).score
        return _SweepPoint(score, max(self._points(now) - self._points(before), 0.0))

    def _tolerated_faults(self) -> float:
        """Return the largest faults that cost no more than a calibrated chip lacks."""
        first = bisect_left(_FAULTS, True, key=self._is_tolerated)
        return _FAULTS[min(first, len(_FAULTS) - 1)]

    def _is_tolerated(self, faults: float) -> bool:
        return self._points(self._answers(self._faulty(faults))) <= _TOLERATED

    def _faulty(self, faults: float) -> dict[str, Tensor]:
        """Return the weights with relative faults of the cells, and half as large ones of columns.

        Cells of weight zero are a little wrong, too.
        """
        return {
            name: weight
            if _is_fixed(name)
            else weight * self._factors(weight, faults / 2, faults)
            + 0.1 * faults * weight.std() * self._normal(weight.shape)
            for name, weight in self._weights.items()
        }

    def _drifted(
        self, weights: Mapping[str, Tensor], strength: float, cell_share: float
    ) -> dict[str, Tensor]:
        """Return the weights after drift; digital biases do not drift."""
        columns, cells = _COLUMN_SHARE * strength, cell_share * strength
        return {
            name: weight
            if _is_fixed(name)
            else weight * math.exp(-strength) * self._factors(weight, columns, cells)
            for name, weight in weights.items()
        }

    def _factors(self, weight: Tensor, columns: float, cells: float) -> Tensor:
        """Return lognormal factors: one of each column times one of each cell."""
        each = (len(weight), *[1] * (weight.ndim - 1))
        return (columns * self._normal(each) + cells * self._normal(weight.shape)).exp()

    def _normal(self, shape: tuple[int, ...]) -> Tensor:
        return torch.randn(shape, generator=self._generator)

    def _points(self, answers: _Answers) -> float:
        golden = self._golden.logits
        return compare(golden, answers.logits, are_values=self._are_values).points

    def _answers(self, weights: Weights) -> _Answers:
        network, neuron = self._student.network, self._student.neuron
        found = [
            layerwise_forward(network, weights, part, neuron) for part in self._inputs.split(_CHUNK)
        ]
        logits = torch.cat([part.logits for part in found])
        probed = {name: rates[:_PROBES] for name, rates in found[0].rates.items()}
        return _Answers(self._fingerprint(probed, logits[:_PROBES]), logits[_PROBES:])

    def _fingerprint(
        self, rates: Mapping[str, Tensor], logits: Float[Tensor, "probe output"]
    ) -> MeanFingerprint:
        """Return the mean over samples and positions, of the readout as a multiple of its scale."""
        student, readout = self._student, self._student.network.stages[-1].name
        means = {
            name: rate.reshape(_PROBES, rate.shape[1], -1).mean((0, 2))
            for name, rate in rates.items()
        }
        scale = student.full_scale[readout] * student.lsb[readout]
        return MeanFingerprint(means | {readout: logits.mean(0) / scale}, None, 1, 0.0)


def _is_fixed(name: str) -> bool:
    """Tell whether these weights are digital: biases, and gains of straight branches."""
    return not name.endswith(".weight")


def _isotonic(points_of_sweep: list[_SweepPoint]) -> tuple[list[float], list[float]]:
    """Return scores and losses of a rising curve through sweep points, sorted by score.

    Neighbours that fall are replaced by their mean in v = ln(points + 1/2), until none does.
    """
    blocks: list[tuple[float, float, int]] = []
    for score, points in points_of_sweep:
        blocks.append((score, math.log(points + 0.5), 1))
        while len(blocks) > 1 and blocks[-2][1] >= blocks[-1][1]:
            (a, v, m), (b, w, n) = blocks[-2:]
            blocks[-2:] = [((a * m + b * n) / (m + n), (v * m + w * n) / (m + n), m + n)]
    return [block[0] for block in blocks], [math.exp(block[1]) - 0.5 for block in blocks]


def _scatter(curve: LossCurve, points_of_sweep: list[_SweepPoint]) -> float:
    """Return the standard deviation of v around the curve, where anything is lost."""
    errors = [
        math.log((points + 0.5) / (curve.points_at(score) + 0.5))
        for score, points in points_of_sweep
        if curve.points_at(score) >= 0.5
    ]
    return math.sqrt(sum(error**2 for error in errors) / max(len(errors), 1))
