"""Chips that cannot be brought back: a calibration of them ends, with the best codes they had."""

from typing import NamedTuple

import pytest
import torch

from chip_sim.identity import LayerIdentity
from ltl_core.calibration.judge import is_better
from ltl_core.calibration.loop import Calibration
from ltl_core.calibration.result import CalibrationResult, EndedBy
from ltl_core.calibration.samples import tested as measured_on
from ltl_core.progress import Phase
from ltl_core.settings import Budget, CalibrationSettings, Data, StageName, TargetSource
from ltl_core.student.evaluate import chip_quality
from ltl_core.teaching.targets import TargetSet
from tests.bad_chips import (
    BadChip,
    Break,
    converters_at_full_scale,
    every_second_neuron_dead,
    stuck_devices,
    stuck_tile,
)
from tests.blobs import World

BUDGET = Budget(samples=480, distinct=100, cell_writes_per_cell=0.4)
SETTINGS = CalibrationSettings(
    budget=BUDGET,
    batch=8,
    stages=(StageName.TRIMS, StageName.CELLS),
    data=Data.LAB,
    targets=TargetSource.GOLDEN,
    target_points=None,
    verification_samples=128,
    test_samples=None,  # all 400: of 100, a broken chip has 0.36 to 0.44 right by chance
)
FAULTS: dict[str, tuple[str, Break]] = {
    "half of the neurons dead": ("layer5", every_second_neuron_dead),
    "a stuck tile": ("layer5", stuck_tile),
    "converters at full scale": ("layer0", converters_at_full_scale(0)),
    "a converter of the readout at full scale": ("layer7", converters_at_full_scale(1)),
}


class Ended(NamedTuple):
    """A chip after its calibration, and what came of it."""

    chip: BadChip
    result: CalibrationResult


def calibrated(
    world: World, backend: BadChip, learn: TargetSet | None = None, **changes: object
) -> Ended:
    settings = SETTINGS.model_copy(update=changes)
    learn = world.targets if learn is None else learn
    calibration = Calibration(backend, world.student, learn, world.test, settings)
    for _ in calibration.steps():
        pass
    return Ended(backend, calibration.result)


def assert_it_holds_what_it_says(world: World, ended: Ended) -> None:
    """The codes of the result are on the chip, and it was judged with them."""
    for name, codes in ended.result.codes.items():
        assert torch.equal(ended.chip.held(name).weight, codes.weight)
        assert torch.equal(ended.chip.held(name).bias, codes.bias)
    again = chip_quality(ended.chip, world.student, measured_on(world.test, SETTINGS))
    assert again.accuracy == pytest.approx(ended.result.after.test.accuracy, abs=0.06)


@pytest.mark.parametrize("fault", list(FAULTS))
def test_a_broken_chip_ends_no_worse_than_it_began(world: World, fault: str) -> None:
    layer, how = FAULTS[fault]
    ended = calibrated(world, BadChip("pcm", layer, how))
    result = ended.result
    assert result.ended_by in (EndedBy.NO_GAIN, EndedBy.WRITES, EndedBy.SAMPLES)
    assert not is_better(result.before.verification, result.after.verification, errors=2.0)
    assert result.spent.cell_writes_per_cell <= 0.4
    assert result.spent.samples <= 480
    assert_it_holds_what_it_says(world, ended)


@pytest.mark.parametrize("good_runs", [22, 28])
def test_a_chip_that_breaks_while_it_learns_keeps_old_codes_or_better(
    world: World, good_runs: int
) -> None:
    how = converters_at_full_scale(0, 1, 2, 3)
    ended = calibrated(world, BadChip("pcm", "layer0", how, good_runs=good_runs))
    result = ended.result
    assert result.after.verification.loss > 2 * result.before.verification.loss  # it did break
    assert result.after.verification.loss <= 1.3 * result.candidate.loss
    assert result.spent.cell_writes_per_cell <= 0.4
    same = all(
        torch.equal(codes.weight, result.codes[name].weight)
        for name, codes in world.student.codes.items()
    )
    assert same != result.improved
    assert_it_holds_what_it_says(world, ended)


def test_targets_of_another_student_are_not_kept(world: World) -> None:
    rates = {name: rate.roll(1, 0) for name, rate in world.targets.rates.items()}
    others = world.targets._replace(rates=rates)
    ended = calibrated(
        world, BadChip("pcm", "layer0", _sound), others, targets=TargetSource.TEACHER
    )
    assert not ended.result.improved
    assert ended.result.ended_by is EndedBy.NO_GAIN
    assert ended.result.spent.samples < 480
    for name, codes in world.student.codes.items():
        assert torch.equal(ended.result.codes[name].weight, codes.weight)
    assert_it_holds_what_it_says(world, ended)


def test_where_nothing_can_be_gained_it_stops_by_itself(world: World) -> None:
    ended = calibrated(world, BadChip("ideal", "layer0", _sound))
    assert ended.result.ended_by is EndedBy.NO_GAIN
    assert ended.result.spent.samples < 480
    assert_it_holds_what_it_says(world, ended)


def test_cells_that_fail_to_verify_are_given_up(world: World) -> None:
    backend = BadChip("pcm", "layer5", stuck_devices(0.3))
    learning = {"stages": (StageName.CELLS,), "noise_floor": 0.0, "budget": Budget(samples=240)}
    settings = SETTINGS.model_copy(update=learning)
    calibration = Calibration(backend, world.student, world.targets, world.test, settings)
    for progress in calibration.steps():
        if progress.phase is Phase.CALIBRATING:
            assert backend.failed_before == 0
            written = progress.spent.cells
    assert written > 100
    assert calibration.result.failed_cells > 100


def _sound(identity: LayerIdentity) -> LayerIdentity:
    return identity
