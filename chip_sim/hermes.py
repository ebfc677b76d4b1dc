"""The phase-change cells of the HERMES chip, two a weight.

Le Gallo et al., Nature Electronics 2023. Coefficients as aihwkit publishes them, in
microsiemens at g_max = 20.7; they scale with g_max.
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
_SMALLEST_R = 1e-7


class HermesDevice:
    """Drifts from 300 s on; fits are in two branches of r = g / g_max."""

    t0 = 300.0  # s
    fluctuates = True
    t_read = 512e-9  # s
    g_max_published = 20.7e-6  # S
    known_until = math.inf  # the fits are power laws without an end

    def __init__(self, g_max: float, programming_scale: float = 1.0) -> None:
        self._g_max = g_max
        self._scale = programming_scale * g_max / self.g_max_published * _MICRO

    def programming_noise(self, g_target: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """sigma = 0.16603 + 4.71806 r - 8.48101 r^2 + 4.68961 r^3."""
        r = g_target / self._g_max
        return self._scale * polynomial(r, 0.16603222, 4.71806468, -8.48101252, 4.68961419)

    def draw_fate(
        self,
        g_target: Float[Tensor, "*shape"],
        g_programmed: Float[Tensor, "*shape"],
        rng: torch.Generator,
    ) -> Fate:
        """nu = |N(mu(r), s(r))|, r from the target; wander = q(r) z, r from what was programmed."""
        r = (g_target / self._g_max).clamp(min=_SMALLEST_R)
        nu = (_drift_mean(r) + _drift_spread(r) * normal(r, rng)).abs()
        return Fate(nu, self._flicker_amplitude(g_programmed) * normal(r, rng))

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
        return _flicker_amplitude((g / self._g_max).clamp(min=_SMALLEST_R))


def _drift_mean(r: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    low = (-0.0387 * r.log() - 0.0182).clamp(0.072, 0.13)
    return torch.where(r < 0.0945, low, polynomial(r, 0.0736, -0.0126, -0.0436))


def _drift_spread(r: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    low = (-0.0117 * r.log() - 0.0057).clamp(0.0091, 0.04)
    return torch.where(r < 0.3055, low, polynomial(r, 0.0073, 0.0093, -0.0118))


def _flicker_amplitude(r: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    low = (-0.0117 * r.log() - 0.0069).clamp(0.015, 0.04)
    return torch.where(r < 0.16, low, polynomial(r, 0.0123, 0.0211, -0.0280, 0.0069))
