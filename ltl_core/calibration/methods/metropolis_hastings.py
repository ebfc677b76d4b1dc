"""Metropolis-Hastings on trims: random moves, kept if the chip answers better (Hastings 1970).

A step proposes x' = x + s n for the trims x, with n normal, and presents one batch with both. With
their losses L and L', the proposal is accepted with the probability
min(1, exp(-(L' - L) / temperature)) (Metropolis et al. 1953; the proposal is symmetric). The
temperature falls to zero and the size s to a quarter: simulated annealing. Sizes and temperatures
are our own choice. Proposals that move all trims did better on small harsh chips than those that
move a tenth or a third of them.
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from ltl_core.calibration.methods.method import BatchQuality, LearningStep, MethodSetup
from ltl_core.calibration.methods.trims import TrimSearch, generator_of
from ltl_core.chip import LayerCodes

TEMPERATURE = 0.01  # at the first step, nats
LEAST_SIZE = 0.25  # of a move, as a fraction of the first


class MetropolisHastings:
    """A random walk on the trims of all columns; two presentations of the batch in each step."""

    def __init__(self, setup: MethodSetup) -> None:
        """Start at the trims of the setup's student."""
        self._setup, self._search = setup, TrimSearch(setup)

    @property
    def codes(self) -> dict[str, LayerCodes]:
        """The student's codes with the trims that were accepted last."""
        return self._search.codes

    def step(self, step: LearningStep) -> BatchQuality:
        """Propose, measure both, and set what is accepted. Raises what the chip raises."""
        trims, rng = self._search.trims, generator_of(self._setup, step.number)
        before = self._search.measure(trims, step.batch)
        size = self._setup.settings.trim_step * max(step.fraction, LEAST_SIZE)
        proposal = trims + size * torch.randn(trims.shape, generator=rng)
        after = self._search.measure(proposal, step.batch)
        temperature = max(TEMPERATURE * step.fraction, 1e-12)
        chance = math.exp(min(0.0, (before.loss - after.loss) / temperature))
        accepted = float(torch.rand((), generator=rng)) < chance
        self._search.set(proposal if accepted else trims)
        return before.quality

    def tensors(self) -> dict[str, Tensor]:
        """Return a copy of the trims."""
        return {"trims": self._search.trims.clone()}

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Continue from what `tensors` returned."""
        self._search.trims = tensors["trims"].clone()
