"""The chip's own time and temperature. Physics is given both; nothing here reads the wall clock."""

import math
from collections.abc import Mapping
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from chip_sim.errors import ImpossibleTemperatureError, NegativeTimeError

BOLTZMANN = 8.617333262e-5  # eV/K


class TemperatureInterval(NamedTuple):
    """From `since` on, until the next interval, the chip is that warm."""

    since: float  # s
    kelvin: float


class Clock:
    """Seconds since the chip was made, and its temperatures so far; it only goes forward."""

    def __init__(
        self,
        now: float = 0.0,
        intervals: tuple[TemperatureInterval, ...] = (TemperatureInterval(0.0, 300.0),),
    ) -> None:
        self._now = now
        self._intervals = intervals

    @property
    def now(self) -> float:
        return self._now

    @property
    def kelvin(self) -> float:
        """The temperature now."""
        return self._intervals[-1].kelvin

    @property
    def intervals(self) -> tuple[TemperatureInterval, ...]:
        """Oldest first; the first begins at zero."""
        return self._intervals

    def advance(self, seconds: float) -> None:
        """Let time pass. Raises NegativeTimeError."""
        if not 0 <= seconds < math.inf:
            raise NegativeTimeError(seconds)
        self._now += seconds

    def warm(self, kelvin: float) -> None:
        """Be that warm from now on. Raises ImpossibleTemperatureError."""
        if not 0 < kelvin < math.inf:
            raise ImpossibleTemperatureError(kelvin)
        before = tuple(s for s in self._intervals if s.since < self._now)
        self._intervals = (*before, TemperatureInterval(self._now, kelvin))

    def tensors(self) -> dict[str, Tensor]:
        """To be saved."""
        return {
            "clock": torch.tensor([self._now], dtype=torch.float64),
            "temperatures": torch.tensor(self._intervals, dtype=torch.float64),
        }

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], kelvin: float) -> "Clock":
        """What `tensors` gave, among other things; without temperatures it was always that warm."""
        intervals = tensors["temperatures"].tolist() if "temperatures" in tensors else []
        kept = tuple(TemperatureInterval(*interval) for interval in intervals) or (
            TemperatureInterval(0.0, kelvin),
        )
        return cls(float(tensors["clock"]), kept)


def arrhenius(kelvin: float, reference: float, activation: float) -> float:
    """How much faster a process with this activation energy (eV) is: exp(-E/k (1/T - 1/T_ref))."""
    return math.exp(-activation / BOLTZMANN * (1 / kelvin - 1 / reference))


def log_age(
    elapsed: Float[Tensor, "*shape"], t0: float, speeds: tuple[tuple[float, float], ...] = ()
) -> Float[Tensor, "*shape"]:
    """The logarithm of time that drift follows: integral of speed(t) dt / (t + t0) since the write.

    ln(1 + t / t0) at constant speed one. `speeds` are pairs (seconds ago, speed since then), the
    oldest first; none is speed one.
    """
    if not speeds:
        return torch.log1p(elapsed / t0)
    total = torch.zeros_like(elapsed)
    ends = (*(ago for ago, _ in speeds[1:]), 0.0)
    for (ago, speed), end in zip(speeds, ends, strict=True):
        first, last = ((elapsed - at).clamp(min=0) / t0 for at in (ago, end))
        total += speed * (torch.log1p(last) - torch.log1p(first))
    return total
