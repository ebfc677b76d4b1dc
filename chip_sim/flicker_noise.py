"""Flicker noise (1/f) as one process in time: the same number at the same instant, always.

A device's conductance fluctuates relative to itself by q x(t), with q from the published fits. At
age t after its last write (drift's t0 included) the published variance of x is

    v(t) = ln((t + t0 + t_read) / (2 t_read)) = v(0) + ln(1 + t / t0).

v(0), what fluctuators faster than t0 have built up when the first read comes, stays as the write
left it: what they do from one multiply to the next is the read noise of a multiply, which has a
figure of its own. The rest is a sum of slower fluctuators, one for each decade k of time constants
from t0 on, each reaching its full variance ln 10 when the device is ten times as old:

    x(t) = sqrt(v(0)) z + sum_k a_k(t) y_k(t),   a_k^2 = clamp(ln((t + t0) / (t0 10^k)), 0, ln 10)

with independent standard normal processes y_k of correlation rho(|dt| / T_k), T_k = 5 t0 10^k:

    rho(v) = (1 - v / 2) cos(pi v / 2) + sin(pi v / 2) / pi   for v < 2, else 0,

so that the covariance of x at two ages is v(0) + sum_k a_k(t) a_k(t') rho((t' - t) / T_k): equal
power in every decade, which is 1/f. y_k turns smoothly from one normal number to the next,

    y = A_n cos(pi u / 2) + A_(n+1) sin(pi u / 2),

with u the fraction of T_k that has passed. The A_n come from the chip's seed, so that y_k is a
function of time, and reading it changes nothing.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from chip_sim.randomness import stream

_SPAN = 5.0  # periods in the shortest time constant of a component: fits its correlation time
_DECADE = math.log(10)
_KEPT = 16  # random tensors that are kept, one for each component and period


class FlickerNoise:
    """The slow fluctuation of the devices under one layer, relative to 1/f amplitude q."""

    def __init__(self, seed: int, place: object, shape: tuple[int, ...]) -> None:
        """Begin the streams of one place on a chip, for devices of this shape."""
        # The word names the random stream: another one would make every chip another chip.
        self._words = (seed, place, "unrest")
        self._shape = shape
        self._drawn: dict[tuple[int, int], Tensor] = {}

    def at(
        self, now: float, elapsed: Float[Tensor, "*shape"], t0: float
    ) -> Float[Tensor, "*shape"]:
        """Return sum_k a_k y_k at `now` of devices whose last write was `elapsed` ago, both in s.

        `t0` is the time of the first read after a write, s.
        """
        total = torch.zeros_like(elapsed)
        log_time = torch.log1p(elapsed / t0)
        oldest = float(log_time.max()) if elapsed.numel() else 0.0
        for k in range(math.ceil(oldest / _DECADE)):
            amplitude = (log_time - k * _DECADE).clamp_(0, _DECADE).sqrt_()
            total.addcmul_(amplitude, self._component(k, now / (_SPAN * t0 * 10**k)))
        return total

    def _component(self, k: int, periods: float) -> Float[Tensor, "*shape"]:
        periods += self._phase(k)
        n = math.floor(periods)
        turn = (periods - n) * math.pi / 2
        return self._number(k, n) * math.cos(turn) + self._number(k, n + 1) * math.sin(turn)

    def _phase(self, k: int) -> float:
        return float(torch.rand((), generator=stream(*self._words, "phase", k)))

    def _number(self, k: int, n: int) -> Float[Tensor, "*shape"]:
        if (k, n) not in self._drawn:
            if len(self._drawn) >= _KEPT:
                self._drawn.clear()
            self._drawn[k, n] = torch.randn(self._shape, generator=stream(*self._words, k, n))
        return self._drawn[k, n]


def correlation(periods: float) -> float:
    """Return rho: the correlation of a component with itself `periods` of its own later.

    It is the mean over all phases.
    """
    v = abs(periods)
    if v >= 2:
        return 0.0
    return (1 - v / 2) * math.cos(math.pi * v / 2) + math.sin(math.pi * v / 2) / math.pi
