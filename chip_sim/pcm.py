"""Phase-change memory: Nandakumar et al., ICECS 2019, with the coefficients that aihwkit publishes.

r = g / g_max. Coefficients for conductances are in microsiemens at g_max = 25 and scale with g_max.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from chip_sim.device import (
    Age,
    Fate,
    drift,
    flicker,
    flicker_at_first_read,
    normal,
    polynomial,
)

_MICRO = 1e-6
_SMALLEST_R = 1e-7  # keeps the logarithm of a device at zero finite


class PcmDevice:
    """Drifts from 20 s on; its programming noise is largest near r = 0.84."""

    t0 = 20.0  # s
    fluctuates = True
    t_read = 250e-9  # s
    g_max_published = 25e-6  # S
    known_until = math.inf  # the fits are power laws without an end

    def __init__(self, g_max: float, programming_scale: float = 1.0) -> None:
        self._g_max = g_max
        self._scale = programming_scale * g_max / self.g_max_published * _MICRO

    def programming_noise(self, g_target: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """sigma = 0.26348 + 1.9650 r - 1.1731 r^2."""
        return self._scale * polynomial(g_target / self._g_max, 0.26348, 1.9650, -1.1731)

    def draw_fate(
        self,
        g_target: Float[Tensor, "*shape"],
        g_programmed: Float[Tensor, "*shape"],
        rng: torch.Generator,
    ) -> Fate:
        """nu = |N(mu(r), s(r))|, r from the target; wander = q(r) z, r from what was programmed."""
        log_r = (g_target / self._g_max).clamp(min=_SMALLEST_R).log()
        mean = (0.0244 - 0.0155 * log_r).clamp(0.049, 0.1)
        spread = (-0.0059 - 0.0125 * log_r).clamp(0.008, 0.045)
        nu = (mean + spread * normal(g_target, rng)).abs()
        return Fate(nu, self._flicker_amplitude(g_programmed) * normal(g_target, rng))

    def conductance(
        self,
        g_target: Float[Tensor, "*shape"],  # noqa: ARG002
        g_programmed: Float[Tensor, "*shape"],
        fate: Fate,
        age: Age,
    ) -> Float[Tensor, "*shape"]:
        """Power-law drift, then 1/f noise."""
        drifted = drift(g_programmed, fate.nu, age.log_time)
        first = flicker_at_first_read(self.t0, self.t_read)
        amplitude = self._flicker_amplitude(g_programmed)
        return flicker(drifted, fate.wander * first + amplitude * age.unrest)

    def _flicker_amplitude(self, g: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """q = min(0.0088 / r^0.65, 0.2), r from what was programmed."""
        return (0.0088 / (g / self._g_max).pow(0.65).clamp(min=1e-3)).clamp(max=0.2)
