"""The stages of a calibration: whether one more begins, and what each of them brought and cost."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

from ltl_core.calibration.judge import Judge, Judgement
from ltl_core.progress import Spent
from ltl_core.settings import StageName


class BegunStage(NamedTuple):
    """What was known when a stage began."""

    stage: StageName
    moves_cells: bool
    points_before: float  # predicted loss of accuracy behind the golden student
    spent: Spent  # by the whole calibration, before the judgement that began the stage


class StageResult(NamedTuple):
    """What one stage brought and cost."""

    stage: StageName
    moved_cells: bool
    points_before: float  # predicted loss of accuracy behind the golden student
    points_after: float
    cost: Spent  # of the stage alone, with the judgement that began it


class StageGate:
    """Judges the chip before each stage; the judgement is also the result of the stage before."""

    def __init__(self, judge: Judge, limit: float | None, begun: Sequence[BegunStage] = ()) -> None:
        """`limit` is the predicted loss that is good enough, points; None if none is."""
        self._judge, self._limit = judge, limit
        self.begun = tuple(begun)
        self._last: Judgement | None = None

    def opens(self, name: StageName, spent: Spent, *, moves_cells: bool = False) -> bool:
        """Tell whether the target is not met yet; if so, a stage of this name begins.

        `spent` is what the calibration has spent before this call. Raises what the chip raises.
        """
        found = self._judge.judge(self._limit)
        if self._limit is not None and found.points + found.points_error <= self._limit:
            self._last = found
            return False
        self.begun += (BegunStage(name, moves_cells, found.points, spent),)
        return True

    def results(self, spent: Spent, judged: Callable[[], Judgement]) -> tuple[StageResult, ...]:
        """Return what the stages brought; `spent` is what they and all before them have spent.

        The last one is judged by `judged`, unless its judgement found that the target is met.
        """
        if not self.begun:
            return ()
        last = self._last or judged()
        after = [*(stage.points_before for stage in self.begun[1:]), last.points]
        ends = pairwise([*(stage.spent for stage in self.begun), spent])
        return tuple(
            StageResult(*stage[:3], points, _difference(*span))
            for stage, points, span in zip(self.begun, after, ends, strict=True)
        )


def _difference(before: Spent, after: Spent) -> Spent:
    return Spent._make(new - old for old, new in zip(before, after, strict=True))
