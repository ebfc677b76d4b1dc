"""Simultaneous perturbation of trims (Spall, IEEE Trans. Automatic Control 37, 332, 1992).

All trims are moved at once by c times random signs D, and back by as much; with the two losses of
one batch,

    g = (L(x + c D) - L(x - c D)) / (2 c) D,    x <- x - a g

The gain a is our own: the difference of losses is divided by its root mean square so far, so that
a step moves the trims by `trim_step` codes where the difference is as usual, falling to zero.
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from ltl_core.calibration.methods.method import BatchQuality, LearningStep, MethodSetup
from ltl_core.calibration.methods.trims import TrimSearch, generator_of
from ltl_core.chip import LayerCodes

PERTURBATION = 4.0  # c, trim codes


class Spsa:
    """SPSA on the trims of all columns; two presentations of the batch in each step."""

    def __init__(self, setup: MethodSetup) -> None:
        """Start at the trims of the setup's student."""
        self._setup, self._search = setup, TrimSearch(setup)
        self._square_sum = torch.zeros((), dtype=torch.float64)  # of the differences so far

    @property
    def codes(self) -> dict[str, LayerCodes]:
        """The student's codes with the trims of now."""
        return self._search.codes

    def step(self, step: LearningStep) -> BatchQuality:
        """Measure both sides, step down, and set the trims. Raises what the chip raises."""
        trims, rng = self._search.trims, generator_of(self._setup, step.number)
        signs = torch.randint(0, 2, trims.shape, generator=rng).float() * 2 - 1
        above = self._search.measure(trims + PERTURBATION * signs, step.batch)
        below = self._search.measure(trims - PERTURBATION * signs, step.batch)
        difference = above.loss - below.loss
        self._square_sum += difference**2
        usual = math.sqrt(float(self._square_sum) / (step.number + 1))
        size = self._setup.settings.trim_step * step.fraction
        self._search.set(trims - size * difference / max(usual, 1e-12) * signs)
        return above.quality

    def tensors(self) -> dict[str, Tensor]:
        """Return copies of the trims and of the sum of squared differences."""
        return {"trims": self._search.trims.clone(), "square_sum": self._square_sum.clone()}

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Continue from what `tensors` returned."""
        self._search.trims = tensors["trims"].clone()
        self._square_sum = tensors["square_sum"].clone()
