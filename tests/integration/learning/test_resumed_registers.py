"""A calibration that went on from a checkpoint still knows the registers of before."""

from collections.abc import Callable
from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from chip_sim.chip import SimulatedChip
from ltl_core.calibration.chip_session import ChipSession
from ltl_core.calibration.drift import measure_fingerprint
from ltl_core.calibration.drift_stage import InForce
from ltl_core.calibration.loop import Calibration
from ltl_core.calibration.registers import Registers
from ltl_core.calibration.result import Checkpoint
from ltl_core.chip import Tuning
from ltl_core.progress import Phase
from ltl_core.settings import Budget, CalibrationSettings, StageName
from tests.blobs import World, chip

LAYER = "layer5"
MONTH = 30 * 86_400.0  # s
SHORT = CalibrationSettings(
    stages=(StageName.DRIFT, StageName.TUNE, StageName.TRIMS),
    target_points=None,
    budget=Budget(samples=40),
    verification_samples=60,
    test_samples=40,
)


class Interrupted(NamedTuple):
    """A chip in the middle of a calibration, and what the next attempt gets of it."""

    backend: SimulatedChip
    initial: dict[str, Tensor]  # registers before the calibration
    checkpoint: Checkpoint
    start: InForce | None


def registers(backend: SimulatedChip) -> dict[str, Tensor]:
    return {name: codes.clone() for name, codes in backend.tuning(LAYER).tensors.items()}


def alike(found: dict[str, Tensor], others: dict[str, Tensor]) -> bool:
    return all(torch.equal(found[name], others[name]) for name in found)


def calibration(
    world: World,
    backend: SimulatedChip,
    checkpoint: Checkpoint | None = None,
    start: InForce | None = None,
) -> Calibration:
    return Calibration(
        backend,
        world.student,
        world.targets,
        world.test,
        SHORT,
        start=start,
        checkpoint=checkpoint,
    )


def until(
    world: World, backend: SimulatedChip, phase: Phase, kept: Phase, start: InForce | None = None
) -> Interrupted:
    """Calibrate until a step of `phase` has ended; the last checkpoint is one of `kept`."""
    running = calibration(world, backend, start=start)
    block, initial = b"", {}
    for progress in running.steps():
        if progress.phase is Phase.BEFORE:
            initial = registers(backend)
        if progress.phase is kept:
            block = running.checkpoint().to_block()
        if progress.phase is phase and (phase is not Phase.TUNING or is_tuned(backend)):
            break
    return Interrupted(backend, initial, Checkpoint.from_block(block), start)


def changed(backend: SimulatedChip, initial: dict[str, Tensor]) -> bool:
    return not alike(registers(backend), initial)


def is_tuned(backend: SimulatedChip) -> bool:
    codes = registers(backend)
    return bool(codes["adc_offset"].any() and codes["threshold"].any())


def untuned(world: World) -> Interrupted:
    """A chip that was tuned, and has learned a step."""
    return until(world, chip("harsh"), Phase.CALIBRATING, Phase.CALIBRATING)


def drifted(world: World) -> Interrupted:
    """A chip whose drift was compensated, and that has learned a step."""
    backend = chip("pcm")
    session = ChipSession(backend, world.student)
    session.place()
    session.write(world.student.codes)
    session.settle(60.0)
    version = InForce(world.student.codes, measure_fingerprint(backend))
    backend.settle(MONTH)
    return until(world, backend, Phase.CALIBRATING, Phase.CALIBRATING, version)


@pytest.mark.parametrize("interrupted", [untuned, drifted])
@pytest.mark.parametrize("stored", [True, False])
def test_a_roll_back_after_a_resume_restores_the_registers(
    world: World, interrupted: Callable[[World], Interrupted], stored: bool
) -> None:
    backend, initial, checkpoint, start = interrupted(world)
    assert changed(backend, initial)
    if not stored:  # as an earlier version wrote it: what it did not keep is not restored
        checkpoint = checkpoint._replace(registers=Registers())
    resumed = calibration(world, backend, checkpoint, start)
    for progress in resumed.steps():
        if progress.phase is Phase.CALIBRATING:
            break
    assert changed(backend, initial)
    resumed.roll_back()
    assert changed(backend, initial) is not stored


@pytest.mark.parametrize("stored", [True, False])
def test_a_tuning_that_was_interrupted_begins_again(world: World, stored: bool) -> None:
    backend, _, checkpoint, _ = until(world, chip("harsh"), Phase.TUNING, Phase.BEFORE)
    assert is_tuned(backend)
    if not stored:
        checkpoint = checkpoint._replace(registers=Registers())
    resumed = calibration(world, backend, checkpoint)
    list(resumed.steps())
    ran = [stage.stage for stage in resumed.result.stages]
    assert (StageName.TUNE in ran) is stored


def test_registers_are_set_again_where_another_job_has_changed_them(world: World) -> None:
    backend, initial, checkpoint, _ = untuned(world)
    tuned = registers(backend)
    backend.tune(LAYER, Tuning(**initial, readout_gain=0))
    resumed = calibration(world, backend, checkpoint)
    for progress in resumed.steps():
        if progress.phase is Phase.CALIBRATING:
            break
    assert alike(registers(backend), tuned)


def test_what_a_compensation_brought_is_still_known(world: World) -> None:
    backend, _, checkpoint, start = drifted(world)
    resumed = calibration(world, backend, checkpoint, start)
    list(resumed.steps())
    found = resumed.result.compensation
    assert found is not None
    assert found == checkpoint.compensation
    assert found.after.score < found.before.score
