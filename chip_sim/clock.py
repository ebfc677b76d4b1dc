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
    """A span of time at one temperature, until the next interval begins."""

    since: float  # the chip's clock, s
    kelvin: float  # K


class SpeedInterval(NamedTuple):
    """A span of time at one speed of drift, until the next interval begins."""

    ago: float  # when it began, s before now
    speed: float  # multiple of the published speed


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
        """Time since the chip was made, s."""
        return self._now

    @property
    def kelvin(self) -> float:
        """The temperature now, K."""
        return self._intervals[-1].kelvin

    @property
    def intervals(self) -> tuple[TemperatureInterval, ...]:
        """All temperatures so far, the oldest first; the first begins at zero."""
        return self._intervals

    def advance(self, seconds: float) -> None:
        """Let time pass, s. Raises NegativeTimeError."""
        if not 0 <= seconds < math.inf:
            raise NegativeTimeError(seconds)
        self._now += seconds

    def warm(self, kelvin: float) -> None:
        """Set the temperature from now on, K. Raises ImpossibleTemperatureError."""
        if not 0 < kelvin < math.inf:
            raise ImpossibleTemperatureError(kelvin)
        before = tuple(s for s in self._intervals if s.since < self._now)
        self._intervals = (*before, TemperatureInterval(self._now, kelvin))

    def tensors(self) -> dict[str, Tensor]:
        """Return the clock as tensors to be saved."""
        return {
            "clock": torch.tensor([self._now], dtype=torch.float64),
            "temperatures": torch.tensor(self._intervals, dtype=torch.float64),
        }

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], kelvin: float) -> "Clock":
        """Read what `tensors` gave; without temperatures, the chip always had `kelvin`.

        Raises KeyError if the time is missing.
        """
        saved = tensors["temperatures"].tolist() if "temperatures" in tensors else []
        intervals = tuple(TemperatureInterval(*interval) for interval in saved)
        return cls(float(tensors["clock"]), intervals or (TemperatureInterval(0.0, kelvin),))


def arrhenius(kelvin: float, reference: float, activation: float) -> float:
    """Return how much faster a process is than at `reference` K: exp(-E/k (1/T - 1/T_ref)).

    `activation` is the energy E in eV.
    """
    return math.exp(-activation / BOLTZMANN * (1 / kelvin - 1 / reference))


def log_age(
    elapsed: Float[Tensor, "*shape"], t0: float, speeds: tuple[SpeedInterval, ...] = ()
) -> Float[Tensor, "*shape"]:
    """Return the logarithm of time that drift follows: integral of speed(t) dt / (t + t0).

    The integral begins at the write, `elapsed` seconds ago; it is ln(1 + t / t0) at a constant
    speed of one. `speeds` begins with the oldest interval; without any, the speed is one.
    """
    if not speeds:
        return torch.log1p(elapsed / t0)
    total = torch.zeros_like(elapsed)
    ends = (*(interval.ago for interval in speeds[1:]), 0.0)
    for (ago, speed), end in zip(speeds, ends, strict=True):
        first, last = ((elapsed - at).clamp(min=0) / t0 for at in (ago, end))
        total += speed * (torch.log1p(last) - torch.log1p(first))
    return total
