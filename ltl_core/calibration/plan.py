"""What a calibration does when: its stages, the samples of each step, and the size of the steps."""

from typing import NamedTuple

import torch

from ltl_core.settings import CalibrationSettings, StageName
from ltl_core.teaching.targets import Batch, TargetSet

_TRIMS_FRACTION = 0.2  # of the samples, for the trims before cells are written
_SIDE_FRACTION = 0.4  # for the side weights, if cells follow
_LAST_FRACTION = 0.2  # and for the trims afterwards
_CHECKS = 4  # of the chip in a stage that writes cells
_STEPS_BETWEEN = 8  # at least, between two checks
_LEARNING = (StageName.TRIMS, StageName.SIDE, StageName.CELLS)


class PlannedStage(NamedTuple):
    """Some steps of learning that move the same registers."""

    name: StageName
    first: int  # step
    end: int  # step after the last
    moves_cells: bool
    is_last: bool  # whether cells were written before it
    is_judged: bool  # whether the stage begins only if the target is not met
    moves_side: bool = False  # digital side weights

    @property
    def title(self) -> str:
        """Name of what the steps move, such as "last trims", as the progress tells it."""
        if self.moves_side:
            return "side weights"
        if self.moves_cells:
            return "weights"
        return "last trims" if self.is_last else "trims"

    def step_fraction(self, step: int) -> float:
        """Return the fraction of the step sizes at this step; it falls linearly to zero."""
        return 1 - (step - self.first) / (self.end - self.first)

    def settles_at(self, step: int) -> bool:
        """Tell whether the chip settles before this step: before last trims, and amid the cells.

        What cells lose soon after they were written is learned by the second half of the stage.
        """
        if self.is_last:
            return step == self.first
        return self._is_long and step == (self.first + self.end) // 2

    def is_checked(self, step: int) -> bool:
        """Tell whether the chip is judged before this step: while cells move, at each quarter.

        A check measures as many samples as dozens of steps present, so short stages have none.
        """
        done, steps = step - self.first, self.end - self.first
        if not self._is_long:
            return False
        return done * _CHECKS // steps != (done - 1) * _CHECKS // steps

    @property
    def _is_long(self) -> bool:
        """Whether it writes cells in more steps than its checks are worth."""
        return self.moves_cells and self.end - self.first >= _CHECKS * _STEPS_BETWEEN


class Plan:
    """The steps of a calibration over the samples that it learns from.

    Trims come first, because they wear no cell, and last, because they draw no programming noise.
    """

    def __init__(
        self,
        learn: TargetSet,
        settings: CalibrationSettings,
        *,
        has_side: bool = False,
        has_trims: bool = True,
    ) -> None:
        """Plan for the samples to learn from, as often as the budget allows.

        `has_side` and `has_trims` tell whether the chip has digital side weights, and trims.
        """
        self._learn, self._settings = learn, settings
        samples = learn.size if settings.budget.samples is None else settings.budget.samples
        a_step = settings.batch * settings.method.presentations
        names = _stages_of(settings, has_side=has_side, has_trims=has_trims)
        self.stages = _stages(samples // a_step, names, has_trims=has_trims)

    @property
    def total_steps(self) -> int:
        """Number of steps if no stage is left out."""
        return self.stages[-1].end if self.stages else 0

    def batch(self, step: int) -> Batch:
        """Return the samples of a step: each sample once in random order, then again in another."""
        size = min(self._settings.batch, self._learn.size)
        per_epoch = self._learn.size // size
        epoch, place = divmod(step, per_epoch)
        generator = torch.Generator().manual_seed(self._settings.seed * 100_003 + epoch)
        order = torch.randperm(self._learn.size, generator=generator, device="cpu")
        return self._learn.take(order[place * size : (place + 1) * size])


def _stages_of(
    settings: CalibrationSettings, *, has_side: bool, has_trims: bool
) -> tuple[StageName, ...]:
    """Return the stages that were asked for and that method and chip can do."""
    cannot = set() if settings.method.moves_cells else {StageName.SIDE, StageName.CELLS}
    cannot |= set() if has_side else {StageName.SIDE}
    cannot |= set() if has_trims else {StageName.TRIMS}
    return tuple(name for name in settings.stages if name not in cannot)


def _stages(
    steps: int, names: tuple[StageName, ...], *, has_trims: bool
) -> tuple[PlannedStage, ...]:
    """Share the steps out among the stages that were asked for."""
    shares = _shares([n for n in _LEARNING if n in names], has_trims=has_trims)
    planned: list[PlannedStage] = []
    first = 0
    for name, share in shares.items():
        end = steps - round((1 - share) * steps)
        planned.append(_stage(name, first, end))
        first = end
    if StageName.CELLS in names and has_trims:
        planned.append(PlannedStage(StageName.CELLS, first, steps, False, True, False))
    return tuple(stage for stage in planned if stage.end > stage.first)


def _stage(name: StageName, first: int, end: int) -> PlannedStage:
    cells, side = name is StageName.CELLS, name is StageName.SIDE
    return PlannedStage(name, first, end, cells, False, True, side)


def _shares(names: list[StageName], *, has_trims: bool) -> dict[StageName, float]:
    """Return the fraction of the steps after which each stage ends."""
    ends = {StageName.TRIMS: _TRIMS_FRACTION, StageName.CELLS: 1 - _LAST_FRACTION}
    ends[StageName.SIDE] = _SIDE_FRACTION + (_TRIMS_FRACTION if StageName.TRIMS in names else 0.0)
    if names and (names[-1] is not StageName.CELLS or not has_trims):
        ends[names[-1]] = 1.0
    return {name: ends[name] for name in names}
