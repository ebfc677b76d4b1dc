"""Shelf life of a published version: the age at which it is predicted to have lost one point.

Memory cells drift with the logarithm of their age: the conductance of phase-change cells falls as
(t / t0) ** -nu (Boniardi et al., IEEE Trans. Electron Devices 57, 2010; Joshi et al., Nature
Communications 11, 2473, 2020), so that for small nu the change is proportional to ln(t / t0). With
t the age of a version, b its age when the chip was last brought back, and c the age of its cells at
that time, its drift score follows

    d(t)^2 = d0^2 + (k g)^2,    g = ln(1 + (t - b) / c)

with one rate k for a chip and d0 the score that was left at b. Right after cells were written c is
a minute; where they were kept, or gains made up for their drift, c is their age, and the chip lasts
far longer. The points lost are f times the loss curve of the golden student at the score, with one
factor f for a chip (`prediction.py`). Both are found from probes of this version and of earlier
ones of the chip:

- ln k is normal. Its prior is a fleet's, else that of simulated chips of four kinds. The probes of
  a chip depart from the law together, so all of them count as one measurement.
- ln f is normal, with the spread of the curve or of its correction; the loss that answers to
  watched samples show is a measurement with a normal error.

One point is lost where f times the curve is one point. The quantiles of that age over both
distributions are the interval. It is wide, because age is an exponential of what is known.
"""

import math
import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from ltl_core.calibration.prediction import Correction, LossCurve, Observation
from ltl_core.errors import ShelfLifeError

LOST_POINTS = 1.0  # accuracy that a version has lost at the end of its validity
FRESH_S = 60.0  # s, age of cells that a calibration wrote, when its version is published
LONGEST_S = 10 * 365.25 * 86_400.0  # s: validities are not given beyond ten years
# Found by `loss_curve` for digits and Fashion-MNIST; for a student whose own is not known yet.
DEFAULT_CURVE = LossCurve((0.0, 0.3, 0.6, 0.8, 1.0, 1.3), (0.0, 0.2, 0.8, 2.0, 5.0, 15.0), 0.6)

_DAY = 86_400.0  # s
_RATE_ERROR = 0.12  # standard deviation of ln k, common to all probes of a chip: the law is rough
_SCORE_ERROR = 0.03  # standard error of a drift score, from noise
_RATE_SPREAD = 0.2  # standard deviation of ln k over chips of one model
_STABLE = 0.25  # standard deviation of ln f of a chip from one time to another
_QUANTILES = (0.05, 0.5, 0.95)
_NODES = 24  # of each normal distribution, equally probable
_GRID = tuple(0.1 * step for step in range(-60, 61))  # of a posterior: standard deviations of ln x


class LogNormal(NamedTuple):
    """A positive quantity whose logarithm is normal."""

    median: float
    spread: float  # standard deviation of the logarithm


DEFAULT_RATE = LogNormal(0.1, 0.6)  # k: from 0.02 (filamentary) to 0.14 (phase-change memory)


class Span(NamedTuple):
    """A time in which a chip was left to drift: from publication, or a compensation, on."""

    began_s: float = 0.0  # age of the version
    cells_s: float = FRESH_S  # age of its cells at that time, see `cells_age`
    score: float = 0.0  # drift score that was left

    def growth(self, age_s: float) -> float:
        """Return g, the growth of the logarithm of the cells' age, at an age of the version."""
        return math.log1p(max(age_s - self.began_s, 0.0) / self.cells_s)

    def age_at(self, growth: float) -> float:
        """Return the age of the version at which the logarithm has grown so much, s."""
        longest = math.log1p(LONGEST_S / self.cells_s)
        grown = self.cells_s * math.expm1(min(growth, longest))
        return min(self.began_s + grown, LONGEST_S)


class ProbePoint(NamedTuple):
    """What one probe of a chip found."""

    span: Span  # in which it was
    age_s: float  # of the version, on the chip's clock
    score: float  # drift score
    observed: Observation | None = None  # points lost since publication


class ChipDrift(NamedTuple):
    """How fast a chip drifts, and how much that costs it, as far as it is known."""

    rate: LogNormal  # k: drift score for each unit of g
    factor: LogNormal  # f: points lost, as a multiple of the loss curve


class Validity(NamedTuple):
    """Age at which a version is predicted to have lost one point, s of the chip's clock.

    No age is above `LONGEST_S`; such an age means that no end is in sight.
    """

    age_s: float
    low_s: float  # the age is in [low_s, high_s] in nine cases out of ten
    high_s: float

    def to_json(self) -> dict[str, float]:
        """Return the validity as JSON data, in whole seconds."""
        return {name: round(value) for name, value in self._asdict().items()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Validity":
        """Read data of `to_json`. Raises ShelfLifeError."""
        try:
            return cls(*(float(data[name]) for name in cls._fields))
        except (KeyError, TypeError, ValueError) as error:
            raise ShelfLifeError(f"it cannot be read: {error!r}") from error


def cells_age(kept_s: float, writes_per_cell: float) -> float:
    """Return the age of cells that drift within a day as those of which a calibration wrote some.

    Cells that were not written are `kept_s` old, the others a minute. Those drift apart from the
    others, so that they count by the square root of their fraction, as in a root mean square.
    """
    written, kept = math.sqrt(min(writes_per_cell, 1.0)), max(kept_s, FRESH_S)
    grown = written * math.log1p(_DAY / FRESH_S) + (1 - written) * math.log1p(_DAY / kept)
    return _DAY / math.expm1(grown)


def fleet_rate(rates: Iterable[float]) -> LogNormal:
    """Return what the rates of other chips of the same model and student say of one more."""
    logs = [math.log(rate) for rate in rates if rate > 0]
    prior, error = DEFAULT_RATE.spread**2, _RATE_SPREAD**2 + _RATE_ERROR**2
    precision = 1 / prior + len(logs) / error
    mean = (math.log(DEFAULT_RATE.median) / prior + sum(logs) / error) / precision
    return LogNormal(math.exp(mean), min(math.sqrt(1 / precision + error), DEFAULT_RATE.spread))


def chip_drift(
    points: Sequence[ProbePoint],
    curve: LossCurve,
    corrected: Correction | None = None,
    prior: LogNormal = DEFAULT_RATE,
) -> ChipDrift:
    """Learn from the probes of one chip with one student; without any, the priors are returned."""
    return ChipDrift(_rate(points, prior), _factor(points, curve, corrected))


def validity(drift: ChipDrift, curve: LossCurve, span: Span | None = None) -> Validity:
    """Predict when a version has lost one point, from the span that it is in now."""
    now = span or Span()
    growths = sorted(_growths(drift, curve, now))
    low, median, high = (now.age_at(growths[int(part * len(growths))]) for part in _QUANTILES)
    return Validity(median, low, high)


def _rate(points: Sequence[ProbePoint], prior: LogNormal) -> LogNormal:
    """Return the posterior of k. Probes weigh by g: late ones tell more, and noise less."""
    grown = [(point, point.span.growth(point.age_s)) for point in points]
    total = sum(growth for _, growth in grown)
    if total == 0:
        return prior

    def log_likelihood(rate: float) -> float:
        return sum(growth / total * _score_likelihood(rate, point) for point, growth in grown)

    return _posterior(prior, log_likelihood)


def _score_likelihood(rate: float, point: ProbePoint) -> float:
    """Return the logarithm of the likelihood of a probe's drift score, up to a constant."""
    grown = rate * point.span.growth(point.age_s)
    expected = math.hypot(point.span.score, grown)
    return _log_density(point.score - expected, math.hypot(_SCORE_ERROR, _RATE_ERROR * grown))


def _factor(
    points: Sequence[ProbePoint], curve: LossCurve, corrected: Correction | None
) -> LogNormal:
    """Return the posterior of f.

    The curve's spread is that of v = ln(points + 1/2), whose error where a point is lost is that
    of the logarithm times 1 / (1 + 1/2).
    """
    factor, spread = corrected or Correction(1.0, curve.spread)
    prior = LogNormal(factor, spread * (LOST_POINTS + 0.5) / LOST_POINTS)
    found = _posterior(prior, lambda f: sum(_loss_likelihood(f, point, curve) for point in points))
    return found._replace(spread=min(math.hypot(found.spread, _STABLE), prior.spread))


def _loss_likelihood(factor: float, point: ProbePoint, curve: LossCurve) -> float:
    """Return the logarithm of the likelihood of the observed loss, up to a constant."""
    if point.observed is None:
        return 0.0
    predicted = factor * curve.points_at(point.score)
    distance = abs(math.log((predicted + 0.5) / (LOST_POINTS + 0.5)))
    stable = _STABLE * (1 + distance)  # the factor of a loss of ten points is another one
    error = math.hypot(point.observed.error, stable * (predicted + 0.5))
    return _log_density(point.observed.points - predicted, error)


def _log_density(departure: float, deviation: float) -> float:
    """Return the logarithm of a normal density, up to a constant."""
    return -((departure / deviation) ** 2) / 2 - math.log(deviation)


def _posterior(prior: LogNormal, log_likelihood: Callable[[float], float]) -> LogNormal:
    """Return the log-normal with mean and variance of the posterior's logarithm, on a grid."""
    logs = [prior.spread * at for at in _GRID]
    values = [prior.median * math.exp(log) for log in logs]
    found = [log_likelihood(x) - z**2 / 2 for x, z in zip(values, _GRID, strict=True)]
    top = max(found)
    weights = [math.exp(log - top) for log in found]
    mean = sum(w * log for w, log in zip(weights, logs, strict=True)) / sum(weights)
    squares = (w * (log - mean) ** 2 for w, log in zip(weights, logs, strict=True))
    spread = math.sqrt(sum(squares) / sum(weights))
    return LogNormal(prior.median * math.exp(mean), spread)


def _growths(drift: ChipDrift, curve: LossCurve, span: Span) -> Iterator[float]:
    """Yield the g at which one point is lost, for equally probable pairs of k and f."""
    rates = list(_nodes(drift.rate))
    for factor in _nodes(drift.factor):
        score = curve.score_at(LOST_POINTS / factor)
        for rate in rates:
            if score is None:
                yield math.inf
            else:
                yield math.sqrt(max(score**2 - span.score**2, 0.0)) / rate


def _nodes(of: LogNormal) -> Iterator[float]:
    """Yield equally probable values of a log-normal quantity."""
    normal = statistics.NormalDist()
    for node in range(_NODES):
        yield of.median * math.exp(of.spread * normal.inv_cdf((node + 0.5) / _NODES))
