"""When a calibration learns what: the samples of each step, and which registers move in it."""

import torch

from ltl_core.errors import SettingError
from ltl_core.settings import CalibrationSettings, Change
from ltl_core.teaching.targets import Batch, TargetSet
from ltl_core.training.latent_weights import LearningRates


class Schedule:
    """The steps of a calibration over the samples that it learns from.

    Trims alone move first and last: they wear no cell and draw no new programming noise.
    """

    def __init__(self, learn: TargetSet, settings: CalibrationSettings) -> None:
        self._learn, self._settings = learn, settings
        samples = learn.size if settings.budget.samples is None else settings.budget.samples
        self.total_steps = samples // settings.batch
        self._weights_from = round(settings.start_share * self.total_steps)
        self._weights_until = round((1 - settings.finish_share) * self.total_steps)

    def batch(self, step: int) -> Batch:
        """Return the samples of a step: each sample once in random order, then again in another."""
        size = min(self._settings.batch, self._learn.size)
        per_epoch = self._learn.size // size
        epoch, place = divmod(step, per_epoch)
        generator = torch.Generator().manual_seed(self._settings.seed * 100_003 + epoch)
        order = torch.randperm(self._learn.size, generator=generator, device="cpu")
        return self._learn.take(order[place * size : (place + 1) * size])

    def learning_rate_fraction(self, step: int) -> float:
        """Return the fraction of the learning rates at this step; it falls linearly to zero."""
        return 1 - step / self.total_steps

    def moves_weights(self, step: int) -> bool:
        """Whether weights move in this step, not trims alone."""
        return self._weights_from <= step < self._weights_until

    def settles_before(self, step: int) -> bool:
        """Whether the chip settles before this step: the first one after the last write."""
        return step == self._weights_until


def split(targets: TargetSet, settings: CalibrationSettings) -> tuple[TargetSet, TargetSet]:
    """Split samples at random into those to learn from and those to verify with.

    Raises SettingError if none is left to learn from.
    """
    kept = max(1, round(settings.verification_share * targets.size))
    if kept >= targets.size:
        raise SettingError(
            f"{targets.size} samples are too few to keep {kept} of them for verifying; upload more."
        )
    generator = torch.Generator().manual_seed(settings.seed)
    order = torch.randperm(targets.size, generator=generator, device="cpu")
    return targets.subset(order[kept:]), targets.subset(order[:kept])


def learning_rates(settings: CalibrationSettings) -> LearningRates:
    """Return the learning rate of weights and trims; zero for weights if trims alone may change."""
    weight = settings.learning_rate if settings.change is Change.AUTO else 0.0
    return LearningRates(weight, settings.trim_learning_rate, settings.trim_learning_rate)
