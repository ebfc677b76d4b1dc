"""When cells are written again to go back to codes that were seen to be better."""

import pytest
import torch

from ltl_core.calibration.chip_session import ChipSession
from ltl_core.calibration.judge import Judge, Judgement
from ltl_core.calibration.result import Checkpoint, Measured, Seen
from ltl_core.calibration.safeguard import Conclusion, Safeguard, differing_cells
from ltl_core.progress import Spent
from ltl_core.settings import CalibrationSettings
from ltl_core.student.evaluate import Quality
from ltl_core.student.golden import golden_targets
from ltl_core.student.student import Student
from ltl_core.teaching.targets import Samples
from tests.blobs import World, chip

SETTINGS = CalibrationSettings(settle_s=1.0)


def judged(loss: float) -> Judgement:
    """100 samples that lose `loss` nats in the mean, and scatter by 0.01 nats each."""
    return Judgement(tuple(loss + 0.01 * (-1) ** index for index in range(100)), (0.0,) * 100, 1.0)


def moved(student: Student) -> Student:
    """The same student with the first row of its readout's cells at zero."""
    name = student.network.stages[-1].name
    weight = student.codes[name].weight.clone()
    weight[0] = 0
    return student.with_codes({**student.codes, name: student.codes[name]._replace(weight=weight)})


def concluded(
    world: World, errors: float, best_loss: float = 0.001
) -> tuple[Conclusion, ChipSession]:
    """Conclude on codes that are worse than the best by so many standard errors of 0.0005 nats."""
    session = ChipSession(chip("pcm"), world.student)
    session.place()
    now = moved(world.student).codes
    session.write(now, free=True)
    targets = golden_targets(world.student, Samples(world.test.samples.inputs[:50], None))
    judge = Judge(targets, session.answers, are_values=False)
    gain = errors / 10 * 0.005
    best = judged(best_loss)
    worse = tuple(
        loss + gain + 0.005 * (-1) ** (index // 2) for index, loss in enumerate(best.losses)
    )
    start = Seen({**now}, judged(2.0))
    checkpoint = Checkpoint(
        {},
        0,
        Spent(),
        Measured(Quality(0.0, (), ()), start.judgement),
        best=Seen(world.student.codes, best),
    )
    guard = Safeguard(session, judge, SETTINGS, start, checkpoint)
    found = guard.conclude(Seen(now, best._replace(losses=worse)), pytest.fail)
    return found, session


def test_cells_are_written_again_where_the_best_was_much_better(world: World) -> None:
    found, session = concluded(world, errors=6.0)
    assert differing_cells(found.kept.codes, world.student.codes) == 0
    assert session.spent.cells > 0
    assert found.improved


def test_a_clear_loss_that_is_smaller_than_the_noise_of_writing_stays(world: World) -> None:
    """Written again, cells of pcm and reram chips lost two to two and a half times as much."""
    found, session = concluded(world, errors=6.0, best_loss=0.002)
    assert differing_cells(found.kept.codes, world.student.codes) > 0
    assert session.spent.cells == 0
    assert found.improved


def test_a_best_that_was_better_by_chance_is_not_written_again(world: World) -> None:
    """Four checks choose the best: one of them is often two standard errors too good."""
    found, session = concluded(world, errors=3.0)
    assert torch.equal(
        found.kept.codes["layer7"].weight, moved(world.student).codes["layer7"].weight
    )
    assert session.spent.cells == 0
    assert found.improved
