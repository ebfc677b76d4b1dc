"""The samples of a calibration: the lab's, synthetic ones, and both in equal parts."""

import pytest

from ltl_core.calibration.samples import calibration_samples
from ltl_core.errors import SettingError
from ltl_core.settings import Budget, CalibrationSettings, Data, TargetSource
from tests.blobs import World


def settings(**changes: object) -> CalibrationSettings:
    return CalibrationSettings().model_copy(update=changes)


def test_few_samples_of_the_lab_are_shown_as_often_as_all_synthetic_ones(world: World) -> None:
    found = calibration_samples(
        world.student, world.targets, settings(budget=Budget(distinct=20), data=Data.MIXED)
    )
    lab = {tuple(x.flatten().tolist()) for x in world.targets.samples.inputs}
    of_lab = [tuple(x.flatten().tolist()) in lab for x in found.learn.samples.inputs]
    assert found.distinct == 20
    assert sum(of_lab) == len(of_lab) / 2


def test_without_samples_of_the_lab_synthetic_ones_have_to_be_asked_for(world: World) -> None:
    with pytest.raises(SettingError, match="'synthetic'"):
        calibration_samples(world.student, None, settings())
    found = calibration_samples(world.student, None, settings(data=Data.SYNTHETIC))
    assert found.distinct == 0
    assert found.acceptance is found.verification


def test_targets_of_the_teacher_belong_to_samples_of_the_lab(world: World) -> None:
    teacher = settings(targets=TargetSource.TEACHER, data=Data.LAB)
    learn = calibration_samples(world.student, world.targets, teacher).learn
    assert learn.samples.labels is None
    labels = settings(targets=TargetSource.LABELS, data=Data.LAB)
    assert (
        calibration_samples(world.student, world.targets, labels).learn.samples.labels is not None
    )
    with pytest.raises(SettingError, match="'golden'"):
        calibration_samples(world.student, world.targets, settings(targets=TargetSource.LABELS))


def test_no_more_samples_of_the_lab_are_used_than_are_presented(world: World) -> None:
    assert world.targets.size > 40
    found = calibration_samples(world.student, world.targets, settings(budget=Budget(samples=40)))
    assert found.distinct == 40
    whole = calibration_samples(world.student, world.targets, settings(budget=Budget(samples=None)))
    assert whole.distinct == world.targets.size
