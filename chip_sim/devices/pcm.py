"""Phase-change memory.

Nandakumar et al., ICECS 2019. Coefficients as aihwkit publishes them.
"""

from jaxtyping import Float
from torch import Tensor

from chip_sim.devices.device import power
from chip_sim.devices.phase_change import PhaseChangeDevice


class PcmDevice(PhaseChangeDevice):
    """A phase-change cell: drifts from 20 s on; its programming noise is largest near r = 0.84."""

    t0 = 20.0  # s
    t_read = 250e-9  # s
    g_max_published = 25e-6  # S
    programming = (0.26348, 1.9650, -1.1731)

    def drift_mean(self, r: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Return mu(r) = 0.0244 - 0.0155 ln r, clamped to 0.049 .. 0.1."""
        return (0.0244 - 0.0155 * r.log()).clamp(0.049, 0.1)

    def drift_spread(self, r: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Return s(r) = -0.0059 - 0.0125 ln r, clamped to 0.008 .. 0.045."""
        return (-0.0059 - 0.0125 * r.log()).clamp(0.008, 0.045)

    def flicker_amplitude(self, r: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Return q(r) = min(0.0088 / r^0.65, 0.2)."""
        return (0.0088 / power(r, 0.65).clamp(min=1e-3)).clamp(max=0.2)
