"""The stage `drift`: a calibration that begins with the gains that make up for drift."""

from typing import NamedTuple

import pytest
import torch

from chip_sim.chip import SimulatedChip
from ltl_core.calibration.chip_session import ChipSession
from ltl_core.calibration.drift import measure_fingerprint
from ltl_core.calibration.drift_stage import InForce
from ltl_core.calibration.loop import Calibration
from ltl_core.calibration.result import EndedBy
from ltl_core.errors import SettingError
from ltl_core.progress import Phase
from ltl_core.settings import STAGES, Budget, CalibrationSettings, StageName
from tests.blobs import World, chip


class Drifted(NamedTuple):
    """A chip a month after codes were published for it."""

    chip: SimulatedChip
    version: InForce


def drifted(world: World) -> Drifted:
    backend = chip("pcm")
    session = ChipSession(backend, world.student)
    session.place()
    session.write(world.student.codes)
    session.settle(60.0)
    version = InForce(world.student.codes, measure_fingerprint(backend))
    backend.settle(30 * 86_400.0)
    return Drifted(backend, version)


def settings_for(*stages: StageName) -> CalibrationSettings:
    return CalibrationSettings(
        stages=stages, budget=Budget(samples=80), verification_samples=100, test_samples=50
    )


def test_drift_alone_is_compensated_without_a_sample_and_without_a_write(world: World) -> None:
    backend, version = drifted(world)
    calibration = Calibration(
        backend, world.student, None, world.test, settings_for(StageName.DRIFT), start=version
    )
    list(calibration.steps())
    result = calibration.result
    assert result.improved
    assert not result.is_new_version
    assert [stage.stage for stage in result.stages] == [StageName.DRIFT]
    assert result.ended_by is EndedBy.STAGES
    assert result.spent.samples == result.spent.cells == 0
    assert result.compensation is not None
    assert result.compensation.after.score < 0.3 * result.compensation.before.score
    assert result.after.verification.loss < 0.5 * result.before.verification.loss


def test_drift_is_compensated_before_anything_is_learned(world: World) -> None:
    backend, version = drifted(world)
    asked = settings_for(*STAGES).model_copy(update={"target_points": 0.0})
    calibration = Calibration(
        backend, world.student, world.targets, world.test, asked, start=version
    )
    list(calibration.steps())
    ran = [stage.stage for stage in calibration.result.stages]
    assert ran[0] is StageName.DRIFT
    assert StageName.TUNE not in ran  # it would begin without the gains that were found
    assert StageName.TRIMS in ran
    points = [stage.points_before for stage in calibration.result.stages]
    assert points[1] < 0.7 * points[0]


def test_a_roll_back_takes_the_gains_away_again(world: World) -> None:
    backend, version = drifted(world)
    before = backend.tuning("layer0").adc_gain
    calibration = Calibration(
        backend, world.student, None, world.test, settings_for(StageName.DRIFT), start=version
    )
    for progress in calibration.steps():
        if progress.phase is Phase.VERIFYING:
            break
    assert not torch.equal(backend.tuning("layer0").adc_gain, before)
    calibration.roll_back()
    assert torch.equal(backend.tuning("layer0").adc_gain, before)


def test_drift_alone_needs_a_fingerprint(world: World) -> None:
    asked = settings_for(StageName.DRIFT)
    with pytest.raises(SettingError, match="calibrate the chip with all stages first"):
        Calibration(chip("pcm"), world.student, None, world.test, asked)
