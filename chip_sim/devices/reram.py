"""Filamentary ReRAM: NeuRRAM, Wan et al., Nature 2022, with the fits that aihwkit publishes.

The published data are the spread around the target one second, one day and two days after a write,
as polynomials of r = g / g_max in microsiemens at g_max = 40; they scale with g_max.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from chip_sim.devices.device import Age, Constants, DriftDraw, normal, polynomial

_MICRO = 1e-6
_DAY = 86400.0  # s


class ReramDevice:
    """A ReRAM cell: it does not drift, but its spread around the target grows with ln t."""

    t0 = 1.0  # s
    fluctuates = False
    known_until = 2 * _DAY
    g_max_published = 40e-6  # S
    after_a_second = (0.348, 16.030, -43.853, 45.393, -16.815)
    after_a_day = (0.701, 22.086, -50.773, 47.095, -16.458)
    after_two_days = (0.782, 20.274, -43.507, 37.062, -11.934)

    def __init__(self, g_max: float, programming_scale: float = 1.0) -> None:
        self._g_max = g_max
        self._scale = programming_scale * g_max / self.g_max_published * _MICRO

    def programming_noise(self, g_target: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Return the spread one second after the write, S."""
        return self._scale * polynomial(g_target / self._g_max, *self.after_a_second)

    def draw_drift(
        self,
        g_target: Float[Tensor, "*shape"],
        g_programmed: Float[Tensor, "*shape"],  # noqa: ARG002
        rng: torch.Generator,
    ) -> DriftDraw:
        """Draw a direction to relax in, standard normal, independent of where the write ended."""
        return DriftDraw(torch.zeros_like(g_target), normal(g_target, rng))

    def constants(
        self,
        g_target: Float[Tensor, "*shape"],
        g_programmed: Float[Tensor, "*shape"],
        draw: DriftDraw,
    ) -> Constants:
        """Return g(0), the direction z, and sigma at the three published times."""
        r = g_target / self._g_max
        fits = (self.after_a_second, self.after_a_day, self.after_two_days)
        return (
            g_programmed,
            draw.wander,
            *(self._scale * polynomial(r, *fit) for fit in fits),
        )

    def conductance(self, constants: Constants, age: Age) -> Float[Tensor, "*shape"]:
        """Return g(0) + z sqrt(sigma(t)^2 - sigma(1 s)^2), S; blind writes spread by sigma(t).

        sigma is linear in ln t between the published times and constant outside of them.
        """
        g_programmed, wander, first, second, third = constants
        log_t = age.elapsed.clamp(1.0, 2 * _DAY).log()
        early = log_t / math.log(_DAY)
        late = ((log_t - math.log(_DAY)) / math.log(2)).clamp(min=0)
        sigma = torch.lerp(torch.lerp(first, second, early.clamp(max=1)), third, late)
        grown = (sigma.square() - first.square()).clamp(min=0).sqrt()
        return (g_programmed + wander * grown).clamp(min=0)
