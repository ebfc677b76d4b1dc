"""A calibration that was stopped after a step, and goes on in another process."""

from ltl_core.calibration.loop import Calibration
from ltl_core.calibration.result import Checkpoint
from ltl_core.progress import Phase
from ltl_core.settings import CalibrationSettings
from tests.blobs import World, chip


def whole_and_resumed(
    world: World, name: str, settings: CalibrationSettings, step: int
) -> tuple[Calibration, Calibration]:
    """Calibrate a chip of this preset; and one like it that goes on from a checkpoint at `step`."""
    backend, again = chip(name), chip(name)
    whole = Calibration(backend, world.student, world.targets, world.test, settings)
    for progress in whole.steps():
        if progress.phase is Phase.CALIBRATING and progress.step == step:
            block, state = whole.checkpoint().to_block(), backend.state()
    again.restore(state)
    checkpoint = Checkpoint.from_block(block)
    resumed = Calibration(
        again, world.student, world.targets, world.test, settings, checkpoint=checkpoint
    )
    steps = [p.step for p in resumed.steps() if p.phase is Phase.CALIBRATING]
    assert steps[0] == step + 1
    return whole, resumed
