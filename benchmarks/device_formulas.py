"""Published device models as moments by quadrature, sharing no line with chip_sim.

For any level and time: mean and standard deviation of a device's conductance after a blind write,
in microsiemens. The programmed conductance and the drift exponent are integrated numerically; the
1/f term, a Gaussian factor cut off at zero, is integrated in closed form.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

Array = np.ndarray[tuple[int, ...], np.dtype[np.float64]]

SPAN, STEPS = 8.0, 801  # standard deviations either way, points of the trapezoid rule


class Formulas(NamedTuple):
    """One published model; r is g / g_max."""

    g_max: float  # uS
    t0: float  # s
    t_read: float  # s
    programming: Callable[[float], float]  # sd, uS
    nu_mean: Callable[[float], float]
    nu_sd: Callable[[float], float]
    flicker: Callable[[Array], Array]  # amplitude by programmed r


class Moments(NamedTuple):
    """Mean and standard deviation of one population, in uS."""

    mean: float
    sd: float


PCM = Formulas(
    g_max=25.0,
    t0=20.0,
    t_read=250e-9,
    programming=lambda r: 0.26348 + 1.9650 * r - 1.1731 * r**2,
    nu_mean=lambda r: _clip(0.0244 - 0.0155 * _log(r), 0.049, 0.1),
    nu_sd=lambda r: _clip(-0.0059 - 0.0125 * _log(r), 0.008, 0.045),
    flicker=lambda r: np.minimum(0.0088 / np.maximum(r**0.65, 1e-3), 0.2),
)

HERMES = Formulas(
    g_max=20.7,
    t0=300.0,
    t_read=512e-9,
    programming=lambda r: 0.16603 + 4.71806 * r - 8.48101 * r**2 + 4.68961 * r**3,
    nu_mean=lambda r: (
        _clip(-0.0387 * _log(r) - 0.0182, 0.072, 0.13)
        if r < 0.0945
        else -0.0436 * r**2 - 0.0126 * r + 0.0736
    ),
    nu_sd=lambda r: (
        _clip(-0.0117 * _log(r) - 0.0057, 0.0091, 0.04)
        if r < 0.3055
        else -0.0118 * r**2 + 0.0093 * r + 0.0073
    ),
    flicker=lambda r: np.where(
        r < 0.16,
        np.clip(-0.0117 * np.log(np.maximum(r, 1e-7)) - 0.0069, 0.015, 0.04),
        0.0069 * r**3 - 0.0280 * r**2 + 0.0211 * r + 0.0123,
    ),
)


def moments(model: Formulas, r: float, elapsed: float, *, flicker: bool) -> Moments:
    """Mean and standard deviation at a time after a blind write towards level r."""
    z = np.linspace(-SPAN, SPAN, STEPS)
    chance = np.exp(-(z**2) / 2)
    chance /= chance.sum()
    g = np.maximum(r * model.g_max + model.programming(r) * z, 0.0)
    nu = np.abs(model.nu_mean(r) + model.nu_sd(r) * z)
    left = (1 + elapsed / model.t0) ** -nu
    first, second = _flicker_moments(model, g / model.g_max, elapsed, on=flicker)
    mean = float((chance * g * first).sum() * (chance * left).sum())
    square = float((chance * g**2 * second).sum() * (chance * left**2).sum())
    return Moments(mean, math.sqrt(square - mean**2))


def _flicker_moments(model: Formulas, r: Array, elapsed: float, *, on: bool) -> tuple[Array, Array]:
    """First and second moment of max(0, 1 + a z), a the relative spread at this time."""
    if not on:
        return np.ones_like(r), np.ones_like(r)
    seen = math.log((elapsed + model.t0 + model.t_read) / (2 * model.t_read))
    a = model.flicker(r) * math.sqrt(seen)
    below = np.array([0.5 * math.erfc(-1 / (x * math.sqrt(2))) for x in a])
    density = a * np.exp(-0.5 / a**2) / math.sqrt(2 * math.pi)
    return below + density, (1 + a**2) * below + density


def _clip(value: float, low: float, high: float) -> float:
    return min(max(value, low), high)


def _log(r: float) -> float:
    return math.log(max(r, 1e-7))
