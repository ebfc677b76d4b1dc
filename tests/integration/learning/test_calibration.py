"""Chips come back by calibration: most of them, and none where the rule is turned round.

Some chips are beyond what so few samples can mend. So the claims are about the median of three,
which one such chip does not move.
"""

from statistics import median

import pytest
import torch

from ltl_core.calibration.drift_stage import InForce
from ltl_core.calibration.loop import Calibration
from ltl_core.calibration.result import CalibrationResult, EndedBy
from ltl_core.chip import Observable
from ltl_core.progress import Phase
from ltl_core.settings import Budget, CalibrationSettings, Data, StageName
from ltl_core.student.golden import golden_targets
from tests.blobs import World, chip

CHIPS = (1, 2, 3)
SHORT = CalibrationSettings(
    budget=Budget(samples=800),
    target_points=None,
    stages=(StageName.TRIMS, StageName.CELLS),
    data=Data.LAB,
)


def calibrated(world: World, seed: int, **changes: object) -> CalibrationResult:
    settings = SHORT.model_copy(update=changes)
    backend, test = chip("harsh", seed), golden_targets(world.student, world.test.samples)
    calibration = Calibration(backend, world.student, world.targets, test, settings)
    list(calibration.steps())
    return calibration.result


def left_of_the_loss(results: list[CalibrationResult]) -> float:
    """The fraction that is left on the samples of the verification, of the median chip."""
    return median(r.candidate.loss / r.before.verification.loss for r in results)


def left_of_the_error(results: list[CalibrationResult]) -> float:
    """The fraction that is left of the error of the rates on the test samples."""
    return median(sum(r.after.test.rate_error) / sum(r.before.test.rate_error) for r in results)


@pytest.mark.parametrize("observable", list(Observable))
def test_calibration_brings_harsh_chips_back(world: World, observable: Observable) -> None:
    results = [calibrated(world, seed, observable=observable) for seed in CHIPS]
    assert left_of_the_loss(results) < 0.5  # measured: 0.29 to 0.32
    assert left_of_the_error(results) < 0.6  # measured: 0.48 to 0.58
    for result in results:
        assert result.improved == (result.candidate.loss < result.before.verification.loss)


def test_trims_alone_bring_harsh_chips_back_and_write_no_cell(world: World) -> None:
    results = [calibrated(world, seed, stages=(StageName.TRIMS,)) for seed in CHIPS]
    assert left_of_the_loss(results) < 0.6  # measured: 0.47
    for result in results:
        assert result.spent.cells == result.spent.pulses == 0
        for name, codes in result.codes.items():
            assert torch.equal(codes.weight, world.student.codes[name].weight)


def test_a_rule_with_its_sign_turned_brings_none_back(world: World) -> None:
    steps = {"weight_step", "trim_step"}
    turned = {name: -getattr(SHORT, name) for name in steps}
    results = [calibrated(world, seed, **turned) for seed in CHIPS]
    assert left_of_the_loss(results) > 1
    assert left_of_the_error(results) > 0.9
    assert not any(result.improved for result in results)


def test_a_second_calibration_starts_from_the_version_in_force(world: World) -> None:
    backend = chip("harsh")
    first = Calibration(backend, world.student, world.targets, world.test, SHORT)
    list(first.steps())
    second = Calibration(
        backend, world.student, world.targets, world.test, SHORT, start=InForce(first.result.codes)
    )
    phases = [progress.phase for progress in second.steps()]
    assert phases[-1] is Phase.AFTER
    # Measured on this chip: 1.8 before the first, 0.4 before the second.
    assert second.result.before.test.loss < 0.5 * first.result.before.test.loss


def test_a_chip_is_tuned_before_it_learns_and_only_once(world: World) -> None:
    backend = chip("harsh")
    auto = SHORT.model_copy(update={"stages": tuple(StageName), "budget": Budget(samples=80)})
    first = Calibration(backend, world.student, world.targets, world.test, auto)
    list(first.steps())
    assert first.result.stages[0].stage is StageName.TUNE
    stages = first.result.stages
    # Measured: 15 points before, 2 afterwards.
    assert stages[0].points_after == stages[1].points_before < stages[0].points_before
    assert sum(stage.cost.samples for stage in stages) == first.result.spent.samples == 80
    assert stages[0].cost.samples == 0
    second = Calibration(backend, world.student, world.targets, world.test, auto)
    list(second.steps())
    assert StageName.TUNE not in [stage.stage for stage in second.result.stages]


def test_a_chip_that_lacks_nothing_learns_nothing(world: World) -> None:
    auto = CalibrationSettings(budget=Budget(samples=800))
    calibration = Calibration(chip("ideal"), world.student, world.targets, world.test, auto)
    list(calibration.steps())
    result = calibration.result
    assert result.ended_by is EndedBy.TARGET
    assert result.spent.samples == result.spent.cells == 0
    assert not result.improved


def test_no_sample_of_the_lab_brings_a_harsh_chip_back(world: World) -> None:
    made = SHORT.model_copy(update={"data": Data.SYNTHETIC})
    test = golden_targets(world.student, world.test.samples)
    calibration = Calibration(chip("harsh"), world.student, None, test, made)
    list(calibration.steps())
    result = calibration.result
    assert result.improved
    assert sum(result.after.test.rate_error) < 0.7 * sum(result.before.test.rate_error)
