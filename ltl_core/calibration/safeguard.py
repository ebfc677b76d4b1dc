"""The best codes that a chip was seen to have, which a calibration goes back to.

A chip may be broken, get worse meanwhile, or have nothing to gain. So it is judged now and then
while cells are written, and no more is written than the budgets leave for the way back.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from ltl_core.calibration.chip_session import ChipSession
from ltl_core.calibration.judge import Judge, Judgement, is_better
from ltl_core.calibration.result import Checkpoint, EndedBy, Seen
from ltl_core.chip import LayerCodes
from ltl_core.settings import CalibrationSettings

_SAMPLES = 128  # measured at a check
_CLEARLY = 2.0  # standard errors by which a chip is better than its best, or worse than its start
# Cells that are written again draw new programming noise, to which no trims are fitted: on pcm
# chips the divergence rose from 0.052 to 0.122 nats and from 0.047 to 0.097, on a reram chip from
# 0.059 to 0.148. So the best must have been better than what a chip holds now by more than chance,
# in standard errors, and the loss must have grown by more than the writing costs.
_WORTH_WRITING = 4.0
_WORTH_TIMES = 3.0
_CHECKS_WORSE = 2  # in succession: then nothing is gained any more
_LEAST = 0.05  # of a budget, for one step: less does not pay for one more check
_PULSES = 8.0  # that a cell takes, as long as none was written
# Of a cell that is learned, to be kept: to go back to the best codes, and, if the chip itself broke
# and the best codes are no better on it, to what was learned.
_WAYS = 2

Codes = Mapping[str, LayerCodes]


class Conclusion(NamedTuple):
    """What a calibration leaves on the chip."""

    kept: Seen
    improved: bool  # if not, the codes of the start were put back
    candidate: Judgement  # of what was learned


class _Room(NamedTuple):
    """What one budget leaves, as a number of cells."""

    left: float
    limit: float
    reason: EndedBy


class Safeguard:
    """Watches what the writing of cells brings and costs. Raises what the chip raises."""

    def __init__(
        self,
        session: ChipSession,
        judge: Judge,
        settings: CalibrationSettings,
        start: Seen,
        checkpoint: Checkpoint | None,
    ) -> None:
        """Begin with the codes of `start`, which are on the chip, or go on from a checkpoint."""
        self._session, self._judge, self._settings = session, judge, settings
        self._start = start
        self._best = start if checkpoint is None or checkpoint.best is None else checkpoint.best
        # Checks in succession at which the chip was worse than at the start.
        self.checks_worse = 0 if checkpoint is None else checkpoint.checks_worse

    @property
    def best(self) -> Seen | None:
        """The codes to go back to; None if they are those of the start."""
        return None if self._best is self._start else self._best

    def check(self, codes: Codes) -> bool:
        """Judge the chip with these codes; tell whether it is worth going on.

        Steps are still large at a check, and fall to zero later: a chip that is worse than its best
        by then may become better. One that is clearly worse than at the start, twice in
        succession, is not.
        """
        found = self._advance(codes)
        worse = is_better(self._start.judgement, found, errors=_CLEARLY)
        self.checks_worse = self.checks_worse + 1 if worse else 0
        return self.checks_worse < _CHECKS_WORSE

    def used_up(self, codes: Codes) -> EndedBy | None:
        """Return the budget that leaves no room for one more step and the ways to be kept.

        A chip that is clearly better by now need not go back; so it is judged first.
        """
        ended = self._short(differing_cells(codes, self._best.codes))
        if ended is None or self._short(0) is not None:
            return ended
        self._advance(codes)
        return None if self._best.codes is codes else ended

    def allowance(self, codes: Codes) -> int | None:
        """Return how many cells a step may write, the ways to be kept apart; None if any number."""
        rooms = [room.left for room in self._rooms()]
        back = differing_cells(codes, self._best.codes) if rooms else 0
        return max(0, int(min(rooms) - _WAYS * back) // (1 + _WAYS)) if rooms else None

    def conclude(self, now: Seen, roll_back: Callable[[], Callable[[], None]]) -> Conclusion:
        """Leave the best codes on the chip; `now` are those that it holds.

        `roll_back` puts back registers and codes of the start; what it returns sets the registers
        of what was learned again. That is needed if the chip itself got worse, and the codes of the
        start with it. A chip that was clearly better keeps its codes if the budgets do not pay for
        the way back.
        """
        learned, start = self._best_learned(now), self._start
        way_back = differing_cells(learned.codes, start.codes)
        better = is_better(learned.judgement, start.judgement)
        if better or (self._best is not start and not self._affords(way_back)):
            return Conclusion(learned, improved=True, candidate=learned.judgement)
        redo = roll_back()
        back = Seen(start.codes, self._settled())
        regretted = is_better(learned.judgement, back.judgement, errors=_CLEARLY)
        if regretted and self._affords(way_back):
            redo()
            again = self._written(learned.codes)
            return Conclusion(again, improved=True, candidate=learned.judgement)
        return Conclusion(back, improved=False, candidate=learned.judgement)

    def _best_learned(self, now: Seen) -> Seen:
        """Return what the chip holds now, or its best, written again, if that was far better."""
        best, judged = self._best, self._best.judgement
        is_clear = is_better(judged, now.judgement, errors=_WORTH_WRITING)
        is_large = now.judgement.loss > _WORTH_TIMES * judged.loss
        fell = best is not self._start and is_clear and is_large
        if fell and self._affords(differing_cells(now.codes, best.codes)):
            return self._written(best.codes)
        return now

    def _written(self, codes: Codes) -> Seen:
        self._session.write(codes)
        return Seen(codes, self._settled())

    def _settled(self) -> Judgement:
        self._session.settle(self._settings.settle_s)
        return self._judge.judge()

    def _advance(self, codes: Codes) -> Judgement:
        """Judge the chip, and keep the codes if they are clearly the best."""
        found = self._judge.judge(samples=_SAMPLES)
        if is_better(found, self._best.judgement, errors=_CLEARLY):
            self._best = Seen(codes, found)
        return found

    def _short(self, back: int) -> EndedBy | None:
        """Return the budget that hardly leaves room for a step, if `back` cells go back."""
        for room in self._rooms():
            if (room.left - _WAYS * back) / (1 + _WAYS) <= _LEAST * room.limit:
                return room.reason
        return None

    def _affords(self, cells: int) -> bool:
        return all(cells <= room.left for room in self._rooms())

    def _rooms(self) -> list[_Room]:
        """Return what the budgets of writes and pulses leave."""
        spent, budget, found = self._session.spent, self._settings.budget, []
        if budget.cell_writes_per_cell is not None:
            limit = budget.cell_writes_per_cell * self._session.cells
            found.append(_Room(limit - spent.cells, limit, EndedBy.WRITES))
        if budget.pulses is not None:
            each = spent.pulses / spent.cells if spent.cells else _PULSES
            left = budget.pulses - spent.pulses
            found.append(_Room(left / each, budget.pulses / each, EndedBy.PULSES))
        return found


def differing_cells(codes: Codes, others: Codes) -> int:
    """Return the number of cells whose weight code differs."""
    return sum(int((codes[name].weight != others[name].weight).sum()) for name in codes)
