"""The phase-change cells of the HERMES chip, two for each weight.

Le Gallo et al., Nature Electronics 2023. Coefficients as aihwkit publishes them.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from chip_sim.devices.device import polynomial
from chip_sim.devices.phase_change import PhaseChangeDevice


class HermesDevice(PhaseChangeDevice):
    """The cell of HERMES: drifts from 300 s on; its fits have two branches in r."""

    t0 = 300.0  # s
    t_read = 512e-9  # s
    g_max_published = 20.7e-6  # S
    programming = (0.16603222, 4.71806468, -8.48101252, 4.68961419)

    def drift_mean(self, r: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Return mu(r): it falls with ln r below 0.0945 and is a polynomial above."""
        low = (-0.0387 * r.log() - 0.0182).clamp(0.072, 0.13)
        return torch.where(r < 0.0945, low, polynomial(r, 0.0736, -0.0126, -0.0436))

    def drift_spread(self, r: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Return s(r): it falls with ln r below 0.3055 and is a polynomial above."""
        low = (-0.0117 * r.log() - 0.0057).clamp(0.0091, 0.04)
        return torch.where(r < 0.3055, low, polynomial(r, 0.0073, 0.0093, -0.0118))

    def flicker_amplitude(self, r: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Return q(r): it falls with ln r below 0.16 and is a polynomial above."""
        low = (-0.0117 * r.log() - 0.0069).clamp(0.015, 0.04)
        return torch.where(r < 0.16, low, polynomial(r, 0.0123, 0.0211, -0.0280, 0.0069))
