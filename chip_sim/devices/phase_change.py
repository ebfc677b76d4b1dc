"""What all phase-change cells share: power-law drift and 1/f noise.

r is g / g_max. Coefficients for conductances are in microsiemens at a published g_max and scale
with it.
"""

import math
from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from chip_sim.devices.device import (
    Age,
    Constants,
    DriftDraw,
    flicker_at_first_read,
    normal,
    polynomial,
    power_law_drift,
)

_MICRO = 1e-6
_SMALLEST_R = 1e-7  # keeps the logarithm of a device at zero finite


class PhaseChangeDevice(ABC):
    """A phase-change cell by its published fits, each a function of r."""

    t0: ClassVar[float]  # s
    t_read: ClassVar[float]  # s
    g_max_published: ClassVar[float]  # S
    programming: ClassVar[tuple[float, ...]]  # sigma in 1e-6 S: coefficients of 1, r, r^2, ...
    fluctuates = True
    known_until = math.inf  # the fits are power laws without an end

    def __init__(self, g_max: float, programming_scale: float = 1.0) -> None:
        self._g_max = g_max
        self._scale = programming_scale * g_max / self.g_max_published * _MICRO

    @abstractmethod
    def drift_mean(self, r: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Return mu(r), the mean of the drift exponent."""

    @abstractmethod
    def drift_spread(self, r: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Return s(r), the standard deviation of the drift exponent."""

    @abstractmethod
    def flicker_amplitude(self, r: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Return q(r), the relative amplitude of the 1/f noise."""

    def programming_noise(self, g_target: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Return sigma(r), S, a polynomial."""
        return self._scale * polynomial(g_target / self._g_max, *self.programming)

    def draw_drift(
        self,
        g_target: Float[Tensor, "*shape"],
        g_programmed: Float[Tensor, "*shape"],
        rng: torch.Generator,
    ) -> DriftDraw:
        """Draw nu = |N(mu(r), s(r))|, r from the target, and wander = q(r) z, r as programmed."""
        r = self._ratio(g_target)
        nu = (self.drift_mean(r) + self.drift_spread(r) * normal(r, rng)).abs()
        return DriftDraw(nu, self.flicker_amplitude(self._ratio(g_programmed)) * normal(r, rng))

    def constants(
        self,
        g_target: Float[Tensor, "*shape"],  # noqa: ARG002
        g_programmed: Float[Tensor, "*shape"],
        draw: DriftDraw,
    ) -> Constants:
        """Return g(0), -nu, the first fluctuation q sqrt(v(0)) z, and q."""
        first = draw.wander * flicker_at_first_read(self.t0, self.t_read)
        amplitude = self.flicker_amplitude(self._ratio(g_programmed))
        return (g_programmed, -draw.nu, first, amplitude)

    def conductance(self, constants: Constants, age: Age) -> Float[Tensor, "*shape"]:
        """Return the conductance after power-law drift and 1/f noise, S: g(t) (1 + q x(t)).

        It is not below zero; `chip_sim/flicker_noise.py` says what x is.
        """
        g_programmed, minus_nu, first, amplitude = constants
        drifted = power_law_drift(g_programmed, minus_nu, age.log_time)
        relative = torch.mul(amplitude, age.flicker).add_(first)
        return relative.add_(1).mul_(drifted).clamp_(min=0)

    def _ratio(self, g: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        return (g / self._g_max).clamp(min=_SMALLEST_R)
