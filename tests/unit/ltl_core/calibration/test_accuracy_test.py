"""The accuracy of a chip on test samples: near that of all of them, with fewer measured."""

import pytest
import torch

from ltl_core.calibration.accuracy_test import AccuracyTest
from ltl_core.calibration.chip_session import ChipSession
from ltl_core.chip import ChipBackend
from ltl_core.settings import CalibrationSettings
from ltl_core.student.evaluate import (
    Enough,
    Measurement,
    Quality,
    chip_quality,
    student_quality,
    student_right,
)
from ltl_core.teaching.targets import Targets
from tests.blobs import World, chip

ALL = CalibrationSettings(test_samples=None)
SOME = CalibrationSettings(test_samples=10_000)  # more than there are, so all may be used


def prepared(world: World, preset: str) -> ChipSession:
    session = ChipSession(chip(preset), world.student)
    session.place()
    session.write(world.student.codes)
    session.settle(60.0)
    return session


def test_a_chip_like_the_golden_student_is_measured_on_few_samples(world: World) -> None:
    session = prepared(world, "ideal")
    found = AccuracyTest(world.student, world.test, SOME).measure(session)
    assert session.spent.samples_measured == 128
    assert found.accuracy == student_quality(world.student, world.test).accuracy


class DifferingChip(ChipSession):
    """Is right where the golden student is not, or the other way round, on every n-th sample."""

    def __init__(self, world: World, each: int) -> None:
        self._student, self._each = world.student, each
        self.measured = 0

    def measure_until(self, targets: Targets, enough: Enough) -> Measurement:
        right = student_right(self._student, targets)
        right[:: self._each] = ~right[:: self._each]
        for count in range(64, len(right) + 1, 64):
            self.measured = count
            if enough(right[:count]):
                break
        right = right[: self.measured]
        return Measurement(Quality(0.5, (), ()), right, torch.zeros(len(right), 10))


@pytest.mark.parametrize(("each", "samples"), [(60, 128), (20, 256)])
def test_a_chip_that_differs_more_is_measured_on_more(
    world: World, each: int, samples: int
) -> None:
    differing = DifferingChip(world, each)
    found = AccuracyTest(world.student, world.test, SOME).measure(differing)
    assert differing.measured == samples
    assert abs(found.accuracy - golden(world)) == pytest.approx(1 / each, abs=0.02)


def test_all_samples_are_measured_if_that_is_asked_for(world: World) -> None:
    session = prepared(world, "ideal")
    found = AccuracyTest(world.student, world.test, ALL, golden=0.0).measure(session)
    assert session.spent.samples_measured == world.test.size
    assert found.accuracy == chip_quality(chip_of(session), world.student, world.test).accuracy


def test_few_samples_are_all_measured(world: World) -> None:
    session = prepared(world, "harsh")
    AccuracyTest(world.student, world.test, CalibrationSettings(test_samples=60)).measure(session)
    assert session.spent.samples_measured == 60


def test_a_chip_that_gives_values_is_measured_on_all_samples(world: World) -> None:
    values = world.test.samples._replace(labels=world.test.logits)
    session = prepared(world, "ideal")
    found = AccuracyTest(world.student, world.test._replace(samples=values), SOME).measure(session)
    assert session.spent.samples_measured == world.test.size
    assert found.accuracy > 0.5  # of the variance is explained


@pytest.mark.parametrize("known", [0.5, 0.75])
def test_what_is_known_of_the_golden_student_is_believed(world: World, known: float) -> None:
    """Only where samples are left out: the chip is then compared with the golden student."""
    session = prepared(world, "ideal")
    assert AccuracyTest(world.student, world.test, SOME, known).measure(session).accuracy == known


def golden(world: World) -> float:
    return student_quality(world.student, world.test).accuracy


def chip_of(session: ChipSession) -> ChipBackend:
    return session._backend
