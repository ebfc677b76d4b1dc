"""What a calibration keeps and returns, and what it refuses before it has run."""

import json

import pytest
import torch

from ltl_core.calibration.chip_session import ChipSession
from ltl_core.calibration.judge import Judgement, is_better
from ltl_core.calibration.loop import Calibration
from ltl_core.calibration.observe import measured_rate
from ltl_core.calibration.result import (
    Checkpoint,
    EarlierCheckpointError,
    Measured,
    Seen,
)
from ltl_core.calibration.stages import BegunStage
from ltl_core.chip import LayerCodes, LayerRecording
from ltl_core.errors import CorruptTensorsError, SettingError
from ltl_core.packing import pack, unpack
from ltl_core.progress import Spent
from ltl_core.settings import CalibrationSettings, Reset, StageName
from ltl_core.student.evaluate import Quality, recorded
from tests.blobs import World, chip


def quality(accuracy: float, *losses: float) -> Quality:
    return Quality(accuracy, (0.1,), losses)


def judgement(*losses: float) -> Judgement:
    return Judgement(losses, losses, 0.5)


def test_a_checkpoint_survives_its_block_with_metadata_of_the_caller() -> None:
    before = Measured(quality(0.5, 1.0, 2.0), judgement(0.25, 0.5))
    stage = BegunStage(StageName.CELLS, True, 3.5, Spent(samples=4))
    kept = Checkpoint({"weight": torch.arange(3)}, 7, Spent(samples=5, cells=2), before, (stage,))
    block = kept.to_block({"job_id": "job-1"})
    found = Checkpoint.from_block(block)
    assert torch.equal(found.tensors["weight"], kept.tensors["weight"])
    assert found[1:] == kept[1:]
    assert unpack(block)[1]["job_id"] == "job-1"


def test_a_checkpoint_keeps_the_best_codes_and_the_cells_that_failed() -> None:
    before = Measured(quality(0.5, 1.0), judgement(0.25))
    codes = LayerCodes(torch.eye(2, dtype=torch.int32), torch.arange(2), torch.arange(2) + 5)
    failed = torch.tensor([[True, False], [False, True]])
    kept = Checkpoint(
        {"weight": torch.arange(3)},
        7,
        Spent(),
        before,
        best=Seen({"conv.1": codes}, judgement(0.1, 0.2)),
        checks_worse=1,
        failed={"conv.1": failed},
    )
    found = Checkpoint.from_block(kept.to_block())
    assert found.best is not None
    assert found.best.judgement == judgement(0.1, 0.2)
    assert all(map(torch.equal, found.best.codes["conv.1"], codes))
    assert torch.equal(found.failed["conv.1"], failed)
    assert found.checks_worse == 1
    assert set(found.tensors) == {"weight"}  # what is the method's alone
    bare = Checkpoint.from_block(kept._replace(best=None, failed={}).to_block())
    assert (bare.best, bare.failed) == (None, {})


def test_a_checkpoint_of_an_earlier_version_is_told_from_a_corrupt_one() -> None:
    earlier = {"step": 3, "spent": [1, 0, 0, 0, 0.0], "before": [[0.5, [0.1], [1.0]]] * 2}
    with pytest.raises(EarlierCheckpointError, match="begin the calibration again"):
        Checkpoint.from_block(pack({}, {"about": json.dumps(earlier)}))
    with pytest.raises(CorruptTensorsError):
        Checkpoint.from_block(pack({}, {"about": json.dumps(earlier | {"stages": [[1]]})}))


def test_less_loss_by_more_than_a_standard_error_is_better() -> None:
    before = judgement(1.0, 1.0, 1.0, 1.0)
    assert is_better(judgement(0.9, 0.8, 0.9, 0.8), before)
    assert not is_better(judgement(0.2, 1.9, 0.5, 1.3), before)
    assert not is_better(before, before)


def test_there_is_neither_result_nor_checkpoint_before_the_steps(world: World) -> None:
    settings = CalibrationSettings()
    calibration = Calibration(chip("ideal"), world.student, world.targets, world.test, settings)
    assert not calibration.can_checkpoint
    with pytest.raises(SettingError, match="run its steps first"):
        _ = calibration.result
    with pytest.raises(SettingError, match="before the chip was measured"):
        calibration.checkpoint()


def test_a_student_whose_spikes_subtract_the_threshold_is_refused(world: World) -> None:
    neuron = world.student.neuron.model_copy(update={"reset": Reset.SUBTRACT})
    with pytest.raises(SettingError, match="reset 'zero'"):
        ChipSession(chip("ideal"), world.student._replace(neuron=neuron))


@pytest.mark.parametrize("field", LayerRecording._fields)
def test_a_field_that_a_driver_left_out_is_named(field: str) -> None:
    with pytest.raises(ValueError, match=field):
        recorded(LayerRecording(), field)


def test_rates_follow_from_spikes_if_a_driver_gives_no_counts() -> None:
    spikes = torch.rand((8, 5, 3), generator=torch.Generator().manual_seed(1)) < 0.4
    counted = measured_rate(LayerRecording(counts=spikes.sum(0).int()), steps=8)
    assert torch.equal(measured_rate(LayerRecording(spikes=spikes), steps=8), counted)
    assert not torch.equal(measured_rate(LayerRecording(spikes=~spikes), steps=8), counted)
