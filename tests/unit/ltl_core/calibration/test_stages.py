"""Stages begin while the target is not met, and each is charged what it spent."""

import torch
from torch import Tensor

from ltl_core.calibration.judge import Judge, Judgement, compare
from ltl_core.calibration.stages import StageGate
from ltl_core.progress import Spent
from ltl_core.settings import StageName
from ltl_core.teaching.targets import Samples, TargetSet

GOLDEN = 8.0 * torch.eye(4)[torch.arange(40) % 4]


class Answers:
    """A chip that answers this fraction of the samples like the golden student."""

    def __init__(self, right: float) -> None:
        self.right = right

    def __call__(self, inputs: Tensor) -> Tensor:
        wrong = torch.arange(len(inputs)) >= self.right * len(inputs)
        return torch.where(wrong[:, None], GOLDEN.roll(1, 1), GOLDEN)


def gate(answers: Answers, limit: float | None) -> StageGate:
    targets = TargetSet(Samples(torch.zeros(40, 1), None), {}, {}, GOLDEN)
    return StageGate(Judge(targets, answers, are_values=False), limit)


def never() -> Judgement:
    raise AssertionError("The chip was judged although its judgement was known.")


def test_the_judgement_that_begins_a_stage_ends_the_one_before() -> None:
    answers = Answers(0.5)
    judged = gate(answers, limit=None)
    assert judged.opens(StageName.TUNE, Spent(samples_measured=10))
    answers.right = 0.9
    assert judged.opens(StageName.CELLS, Spent(samples_measured=50), moves_cells=True)
    last = compare(GOLDEN, GOLDEN)
    first, second = judged.results(Spent(8, 90, 5, 7, 0.25), lambda: last)
    assert first.points_after == second.points_before < 0.3 * first.points_before
    assert (first.cost, second.cost) == (Spent(0, 40), Spent(8, 40, 5, 7, 0.25))
    assert second.points_after == 0.0
    assert (first.moved_cells, second.moved_cells) == (False, True)


def test_a_target_that_is_met_needs_no_further_judgement() -> None:
    answers = Answers(0.5)
    judged = gate(answers, limit=1.0)
    assert judged.opens(StageName.TUNE, Spent())
    answers.right = 1.0
    assert not judged.opens(StageName.TRIMS, Spent(samples_measured=40))
    (stage,) = judged.results(Spent(samples_measured=40), never)
    assert (stage.stage, stage.points_after) == (StageName.TUNE, 0.0)
    assert stage.cost == Spent(samples_measured=40)


def test_without_a_stage_nothing_is_judged() -> None:
    assert gate(Answers(1.0), limit=1.0).results(Spent(), never) == ()
