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
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from chip_sim.randomness import stream

_SPAN = 5.0  # periods in the shortest time constant of a component: fits its correlation time
_DECADE = math.log(10)
_ALL = slice(None)
_KEPT = 16  # random tensors that are kept, one for each component and period


class Component(NamedTuple):
    """One of the processes y_k at one instant: A_n cos + A_(n+1) sin."""

    before: Float[Tensor, "*shape"]  # A_n
    after: Float[Tensor, "*shape"]  # A_(n+1)
    cosine: float
    sine: float

    def of(self, devices: slice) -> Float[Tensor, "*some"]:
        """Return the process for some of the devices."""
        return (self.before[devices] * self.cosine).add_(self.after[devices] * self.sine)


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
        log_time = torch.log1p(elapsed / t0)
        oldest = float(log_time.max()) if elapsed.numel() else 0.0
        total = torch.zeros_like(elapsed)
        for k, component in enumerate(self.components(now, oldest, t0)):
            total.addcmul_(amplitude(log_time, k), component.of(_ALL))
        return total

    def components(self, now: float, oldest: float, t0: float) -> list[Component]:
        """Return the y_k at `now`, s, of devices up to the age `oldest`, in ln(1 + t / t0)."""
        count = math.ceil(oldest / _DECADE)
        return [self._component(k, now / (_SPAN * t0 * 10**k)) for k in range(count)]

    def _component(self, k: int, periods: float) -> Component:
        periods += self._phase(k)
        n = math.floor(periods)
        turn = (periods - n) * math.pi / 2
        return Component(self._number(k, n), self._number(k, n + 1), math.cos(turn), math.sin(turn))

    def _phase(self, k: int) -> float:
        return float(torch.rand((), generator=stream(*self._words, "phase", k)))

    def _number(self, k: int, n: int) -> Float[Tensor, "*shape"]:
        if (k, n) not in self._drawn:
            if len(self._drawn) >= _KEPT:
                self._drawn.clear()
            self._drawn[k, n] = torch.randn(self._shape, generator=stream(*self._words, k, n))
        return self._drawn[k, n]


def amplitude(log_time: Float[Tensor, "*shape"], k: int) -> Float[Tensor, "*shape"]:
    """Return a_k of devices whose age is given as ln(1 + t / t0)."""
    return (log_time - k * _DECADE).clamp_(0, _DECADE).sqrt_()


def correlation(periods: float) -> float:
    """Return rho: the correlation of a component with itself `periods` of its own later.

    It is the mean over all phases.
    """
    v = abs(periods)
    if v >= 2:
        return 0.0
    return (1 - v / 2) * math.cos(math.pi * v / 2) + math.sin(math.pi * v / 2) / math.pi
