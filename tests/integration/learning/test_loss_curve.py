"""The loss curve of a student, and the loss of simulated chips that it predicts."""

from itertools import pairwise
from typing import NamedTuple

import pytest
import torch

from chip_sim.chip import SimulatedChip
from ltl_core.calibration.chip_session import ChipSession
from ltl_core.calibration.drift import drift_between, measure_fingerprint
from ltl_core.calibration.loss_curve import loss_curve
from ltl_core.calibration.prediction import LossCurve, Observation, Prediction, predicted_loss
from ltl_core.calibration.watch import WatchedSamples, observe_loss, watched_samples
from ltl_core.student.evaluate import chip_quality
from tests.blobs import World, chip

DAY = 86_400.0  # s
SAMPLING = 4.0  # points: two standard errors of an accuracy that was measured on 400 samples


class Aged(NamedTuple):
    """A chip at one age: drift score, loss observed without labels, loss measured with them."""

    score: float
    observed: Observation
    lost: float  # points


@pytest.fixture(scope="module")
def watched(world: World) -> WatchedSamples:
    return watched_samples(world.student, world.test)


@pytest.fixture(scope="module")
def curve(world: World, watched: WatchedSamples) -> LossCurve:
    return loss_curve(world.student, watched)


@pytest.fixture(scope="module")
def aged(world: World, watched: WatchedSamples) -> list[Aged]:
    """Chips that drift, from an hour to a year after they were programmed."""
    chips = [programmed(world, name, seed) for name, seed in (("pcm", 1), ("harsh", 2))]
    return [row for one in chips for row in aging(world, watched, one)]


def programmed(world: World, name: str, seed: int) -> SimulatedChip:
    made = chip(name, seed)
    session = ChipSession(made, world.student)
    session.place()
    session.write(world.student.codes)
    session.settle(60.0)
    return made


def aging(world: World, watched: WatchedSamples, made: SimulatedChip) -> list[Aged]:
    published, accuracy = measure_fingerprint(made), accuracy_of(made, world)
    before = observe_loss(made, world.student, watched)
    rows = []
    for seconds in (DAY / 24, 30 * DAY, 335 * DAY):
        made.advance(seconds)
        observed = observe_loss(made, world.student, watched).since(before)
        score = drift_between(measure_fingerprint(made), published).score
        rows.append(Aged(score, observed, 100 * (accuracy - accuracy_of(made, world))))
    return rows


def accuracy_of(made: SimulatedChip, world: World) -> float:
    return chip_quality(made, world.student, world.test).accuracy


def holds(prediction: Prediction, lost: float) -> bool:
    return prediction.low - SAMPLING <= lost <= prediction.high + SAMPLING


def test_the_loss_rises_with_the_score_from_nothing(curve: LossCurve) -> None:
    assert (curve.scores[0], curve.points[0]) == (0.0, 0.0)
    for values in (curve.scores, curve.points):
        assert all(one <= other for one, other in pairwise(values))
    assert curve.points[-1] > 20.0


def test_one_student_has_one_curve(world: World) -> None:
    few = watched_samples(world.student, world.test.subset(torch.arange(8)))
    curve, again, other = (loss_curve(world.student, few, seed) for seed in (0, 0, 1))
    assert again.scores == pytest.approx(curve.scores, rel=1e-6)
    assert other.scores != curve.scores


def test_the_interval_holds_what_a_chip_has_lost(curve: LossCurve, aged: list[Aged]) -> None:
    by_curve = [holds(predicted_loss(curve, one.score), one.lost) for one in aged]
    observed = [
        holds(predicted_loss(curve, one.score, observed=one.observed), one.lost) for one in aged
    ]
    assert sum(by_curve) >= len(aged) - 1
    assert all(observed)
    assert max(one.lost for one in aged) > 20.0


def test_an_interval_without_its_spread_would_not(curve: LossCurve, aged: list[Aged]) -> None:
    sure = curve._replace(spread=0.05)
    assert sum(holds(predicted_loss(sure, one.score), one.lost) for one in aged) < len(aged) - 1


def test_observing_halves_the_error(curve: LossCurve, aged: list[Aged]) -> None:
    alone = [abs(predicted_loss(curve, one.score).points - one.lost) for one in aged]
    observed = [
        abs(predicted_loss(curve, one.score, observed=one.observed).points - one.lost)
        for one in aged
    ]
    assert sum(observed) < sum(alone) / 2


def test_the_same_samples_are_watched_each_time(world: World, watched: WatchedSamples) -> None:
    again = watched_samples(world.student, world.test)
    assert again.targets.samples.inputs.equal(watched.targets.samples.inputs)
    assert (watched.targets.size, watched.targets.samples.labels) == (128, None)


def test_an_ideal_chip_is_behind_nothing(world: World, watched: WatchedSamples) -> None:
    observed = observe_loss(programmed(world, "ideal", 1), world.student, watched)
    assert observed.points == pytest.approx(0.0, abs=0.5)
    assert observed.error >= 50 / 128
