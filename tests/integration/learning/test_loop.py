"""The loop keeps its budgets, writes what changed, puts back what is worse, and goes on."""

from collections.abc import Mapping

import pytest
import torch
from torch import Tensor

from chip_sim.chip import SimulatedChip
from ltl_core.calibration.loop import Calibration
from ltl_core.calibration.result import CalibrationResult, EndedBy
from ltl_core.progress import Phase
from ltl_core.settings import Budget, CalibrationSettings, Data, StageName
from tests.blobs import World, chip
from tests.integration.learning.resuming import whole_and_resumed

SHORT = CalibrationSettings(
    budget=Budget(samples=800),
    batch=16,
    target_points=None,
    stages=(StageName.TRIMS, StageName.CELLS),
    data=Data.LAB,
)


def _run(
    world: World, backend: SimulatedChip, settings: CalibrationSettings = SHORT
) -> CalibrationResult:
    calibration = Calibration(backend, world.student, world.targets, world.test, settings)
    for _ in calibration.steps():
        pass
    return calibration.result


def test_the_old_codes_are_put_back_if_nothing_was_gained(world: World) -> None:
    backend = chip("ideal")
    worse = SHORT.model_copy(
        update={"weight_step": -8.0, "trim_step": -64.0, "target_points": None}
    )
    result = _run(world, backend, worse)
    assert not result.improved
    assert result.candidate.loss > result.before.verification.loss
    for name, codes in world.student.codes.items():
        assert all(map(torch.equal, codes, result.codes[name]))
        torch.testing.assert_close(backend.weights(name).round(), codes.weight.float())
    assert result.after.test.accuracy == pytest.approx(result.before.test.accuracy, abs=0.01)


def test_only_changed_cells_are_written_and_all_are_counted(world: World) -> None:
    backend, written = chip("pcm"), 0
    calibration = Calibration(backend, world.student, world.targets, world.test, SHORT)
    codes: Mapping[str, Tensor] = {n: c.weight for n, c in world.student.codes.items()}
    for progress in calibration.steps():
        if progress.phase is Phase.CALIBRATING:
            now = {n: c.weight for n, c in calibration.codes.items()}
            written += sum(int((now[n] != codes[n]).sum()) for n in now)
            codes = now
            assert progress.spent.cells == written
    assert written > 0


def test_budget_of_samples_is_kept(world: World) -> None:
    result = _run(world, chip("pcm"), SHORT.model_copy(update={"budget": Budget(samples=320)}))
    assert result.spent.samples == 320
    assert result.ended_by is EndedBy.SAMPLES


@pytest.mark.parametrize("limit", [0.0, 0.3])
def test_a_budget_of_writes_ends_the_writing_and_trims_follow(world: World, limit: float) -> None:
    budget = Budget(samples=800, cell_writes_per_cell=limit)
    asked = {"budget": budget, "noise_floor": 0.0, "weight_step": 1.0, "test_samples": 50}
    result = _run(world, chip("harsh"), SHORT.model_copy(update=asked))
    assert result.ended_by is EndedBy.WRITES
    assert 0.5 * limit <= result.spent.cell_writes_per_cell <= limit
    assert 320 <= result.spent.samples < 800  # of the first trims, and the last


def test_a_chip_whose_writes_brought_nothing_stays_within_the_budget(world: World) -> None:
    budget = Budget(samples=800, cell_writes_per_cell=0.4)
    asked = {"budget": budget, "noise_floor": 0.0, "test_samples": 50}
    worse = asked | {"weight_step": -8.0, "trim_step": -64.0}  # 0.6 writes a cell in one step
    result = _run(world, chip("harsh"), SHORT.model_copy(update=worse))
    assert not result.improved
    assert 0.1 < result.spent.cell_writes_per_cell <= 0.4  # with the way back


def test_calibration_goes_on_from_its_checkpoint_as_if_never_stopped(world: World) -> None:
    whole, resumed = whole_and_resumed(world, "pcm", SHORT, step=9)
    assert resumed.result.spent == whole.result.spent
    assert resumed.result.after == whole.result.after
    assert resumed.result.failed_cells == whole.result.failed_cells > 0  # they stay given up
    for name, codes in whole.result.codes.items():
        assert all(map(torch.equal, codes, resumed.result.codes[name]))


def test_each_step_says_what_it_moves_and_the_rates_that_were_measured(world: World) -> None:
    calibration = Calibration(chip("pcm"), world.student, world.targets, world.test, SHORT)
    progress = [told for told in calibration.steps() if told.phase is Phase.CALIBRATING]
    assert {told.stage for told in progress} >= {"trims", "weights", "last trims"}
    for told in progress:
        assert len(told.rates) == len(told.rate_error)
        for rate, error in zip(told.rates, told.rate_error, strict=True):
            assert 0 < rate.target < 1
            assert abs(rate.measured - rate.target) <= error + 1e-6  # a mean within its RMS
    settled = {told.stage: told.settled_s for told in progress}
    assert settled["last trims"] > settled["weights"] > 0
