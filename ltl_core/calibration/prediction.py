"""What a drift score means in accuracy: the points that a chip has lost, with their uncertainty.

A loss of p points is handled as v = ln(p + 1/2), in which the errors of a prediction are about
normal: a prediction is right up to a factor, and losses of less than half a point are alike.
"""

import math
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any, NamedTuple

from ltl_core.errors import LossCurveError

_HALF = 0.5  # points
_QUANTILES = (0.05, 0.5, 0.95)  # an interval of 90 %, and the median
_SAMPLING = 0.6  # standard error of a loss that was measured on a thousand samples, points
_GRID = tuple(math.log(0.05) + 0.025 * step for step in range(440))  # of v, to far above 100
_STABLE = 0.25  # standard deviation of v of one chip, once its own factor is known


class Prediction(NamedTuple):
    """Accuracy that a chip is predicted to have lost since publication, in points."""

    points: float
    low: float  # the loss is in [low, high] in nine cases out of ten
    high: float


class LossCurve(NamedTuple):
    """Loss of accuracy of one golden student as its drift score rises; made by `loss_curve`."""

    scores: tuple[float, ...]  # drift scores, rising, from zero
    points: tuple[float, ...]  # lost at each of them, never falling
    spread: float  # standard deviation of v around the curve

    def points_at(self, score: float) -> float:
        """Return the points lost at a drift score; past the end of the curve they stay."""
        return _points(_interpolate(score, self.scores, [_v(lost) for lost in self.points]))

    def score_at(self, points: float) -> float | None:
        """Return the lowest drift score at which so many points are lost; None if at none."""
        if points > self.points[-1]:
            return None
        place = next(index for index, lost in enumerate(self.points) if lost >= points)
        if place == 0:
            return self.scores[0]
        (left, right), (low, high) = (
            (values[place - 1], values[place]) for values in (self.scores, self.points)
        )
        return left + (right - left) * (_v(points) - _v(low)) / (_v(high) - _v(low))

    def to_json(self) -> dict[str, Any]:
        """Return the curve as JSON data."""
        return {"scores": list(self.scores), "points": list(self.points), "spread": self.spread}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "LossCurve":
        """Read data of `to_json`. Raises LossCurveError."""
        try:
            scores, points = (
                tuple(float(value) for value in data[name]) for name in ("scores", "points")
            )
            curve = cls(scores, points, float(data["spread"]))
        except (KeyError, TypeError, ValueError) as error:
            raise LossCurveError(f"it cannot be read: {error!r}") from error
        if not scores or len(scores) != len(points):
            raise LossCurveError("it needs as many scores as losses, at least one of each")
        return curve


class Outcome(NamedTuple):
    """A loss that the curve predicted, and the one that an evaluation then measured, points."""

    predicted: float
    lost: float


class Correction(NamedTuple):
    """What the outcomes of earlier predictions change in the next one."""

    factor: float  # of the points
    spread: float  # standard deviation of v that is left


class Observation(NamedTuple):
    """Points behind the golden student, as the answers to some samples show without labels."""

    points: float
    error: float  # standard error

    def since(self, then: "Observation") -> "Observation":
        """Return what was lost since an earlier observation on the same samples."""
        return Observation(self.points - then.points, math.hypot(self.error, then.error))

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Observation":
        """Read a mapping with `points` and `error`."""
        return cls(float(data["points"]), float(data["error"]))


def correction(curve: LossCurve, fleet: Iterable[Outcome], chip: Iterable[Outcome]) -> Correction:
    """Learn from outcomes of the same student: those of other chips, and those of this one.

    The mean error of v over the fleet, and then of the chip around the fleet's, is shrunk towards
    zero as the mean of normal errors is under a normal prior: few outcomes, or losses near the
    sampling error of their measurement, change little.
    """
    prior = curve.spread**2
    shared = _shrunk(_Normal(0.0, prior), fleet, prior)
    own = _shrunk(_Normal(shared.mean, prior), chip, _STABLE**2)
    known = own.variance < prior
    spread = math.hypot(own.deviation, _STABLE) if known else curve.spread
    return Correction(math.exp(own.mean), min(spread, curve.spread))


def predicted_loss(
    curve: LossCurve,
    score: float,
    corrected: Correction | None = None,
    observed: Observation | None = None,
) -> Prediction:
    """Predict the accuracy that a chip of this drift score has lost since publication, in points.

    The curve gives a normal prior of v, with the factor and the spread of the correction; an
    observation is a measurement of the points with a normal error. Their product is evaluated on a
    grid of v, and median and quantiles of 5 and 95 % are returned.
    """
    factor, spread = corrected or Correction(1.0, curve.spread)
    prior = _Normal(_v(factor * curve.points_at(score)), spread**2)
    logs = [_log_density(prior, v) for v in _GRID]
    if observed is not None:
        likely = _Normal(observed.points, observed.error**2)
        logs = [
            log + _log_density(likely, _possible(v)) for log, v in zip(logs, _GRID, strict=True)
        ]
    low, median, high = (_possible(v) for v in _quantiles(logs))
    return Prediction(median, low, high)


class _Normal(NamedTuple):
    mean: float
    variance: float

    @property
    def deviation(self) -> float:
        return math.sqrt(self.variance)


def _log_density(normal: _Normal, at: float) -> float:
    """Return the logarithm of a normal density, up to a constant."""
    return -((at - normal.mean) ** 2) / (2 * normal.variance)


def _quantiles(logs: Sequence[float]) -> Iterator[float]:
    """Yield the quantiles of v of a density whose logarithms on the grid are given."""
    top = max(logs)
    weights = [math.exp(log - top) for log in logs]
    until = accumulate(weights)
    below = [up_to - weight / 2 for up_to, weight in zip(until, weights, strict=True)]
    return (_interpolate(part * sum(weights), below, _GRID) for part in _QUANTILES)


def _shrunk(prior: _Normal, outcomes: Iterable[Outcome], variance: float) -> _Normal:
    """Return the posterior of a mean error whose outcomes scatter with this variance of v."""
    precision, weighted = 1 / prior.variance, prior.mean / prior.variance
    for predicted, lost in outcomes:
        sampling = _SAMPLING / (max(predicted, lost) + _HALF)
        weight = 1 / (variance + sampling**2)
        precision += weight
        weighted += weight * (_v(max(lost, 0.0)) - _v(predicted))
    return _Normal(weighted / precision, 1 / precision)


def _interpolate(at: float, xs: Sequence[float], ys: Sequence[float]) -> float:
    """Interpolate between the points of a polygon; outside of it the nearest end counts."""
    right = bisect_right(xs, at)
    if right in (0, len(xs)):
        return ys[max(right - 1, 0)]
    fraction = (at - xs[right - 1]) / (xs[right] - xs[right - 1])
    return ys[right - 1] + fraction * (ys[right] - ys[right - 1])


def _v(points: float) -> float:
    return math.log(points + _HALF)


def _points(v: float) -> float:
    return math.exp(v) - _HALF


def _possible(v: float) -> float:
    """Return the points of v, cut off where no loss can be."""
    return min(max(_points(v), 0.0), 100.0)
