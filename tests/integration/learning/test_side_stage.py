"""Digital side weights as a stage of a calibration: what they bring without a cell written."""

from typing import NamedTuple

import pytest
import torch

from chip_sim.chip import SimulatedChip
from ltl_core.calibration.chip_session import ChipSession
from ltl_core.calibration.drift_stage import InForce
from ltl_core.calibration.loop import Calibration
from ltl_core.calibration.result import CalibrationResult
from ltl_core.chip import SideWeights
from ltl_core.errors import NoSideWeightsError
from ltl_core.network.layers import size
from ltl_core.progress import Phase
from ltl_core.settings import Budget, CalibrationSettings, StageName
from ltl_core.student.golden import golden_targets
from ltl_core.student.side_codes import side_matrix
from ltl_core.student.student import Student
from tests.blobs import World, chip
from tests.integration.learning.resuming import whole_and_resumed

SIDE = CalibrationSettings(
    budget=Budget(samples=600),
    stages=(StageName.TRIMS, StageName.SIDE),
    target_points=None,
    verification_samples=100,
    test_samples=200,
)

SHORT = SIDE.model_copy(update={"budget": Budget(samples=160)})


@pytest.fixture
def golden(world: World) -> World:
    """The world, tested by the golden student's own answers."""
    return world._replace(test=golden_targets(world.student, world.test.samples))


class Watched(NamedTuple):
    """A chip that tells which side weights were set last."""

    backend: SimulatedChip
    side: dict[str, SideWeights | None]


def watched(name: str = "harsh-side") -> Watched:
    backend, side = chip(name), {}
    set_side = backend.set_side

    def noted(layer: str, weights: SideWeights | None) -> None:
        set_side(layer, weights)
        side[layer] = weights

    backend.set_side = noted  # type: ignore[method-assign]
    return Watched(backend, side)


def run(
    world: World, backend: SimulatedChip, settings: CalibrationSettings = SIDE
) -> CalibrationResult:
    calibration = Calibration(backend, world.student, world.targets, world.test, settings)
    list(calibration.steps())
    return calibration.result


def error(result: CalibrationResult) -> float:
    return sum(result.after.test.rate_error)


def test_side_weights_bring_more_back_than_trims_and_write_no_cell(golden: World) -> None:
    with_side = run(golden, chip("harsh-side"))
    trims = run(golden, chip("harsh"))
    assert with_side.before.test.rate_error == trims.before.test.rate_error
    assert with_side.improved
    assert error(with_side) < 0.8 * error(trims)  # measured: 0.71
    assert with_side.spent.cells == with_side.spent.pulses == 0
    assert [stage.stage for stage in with_side.stages] == list(SIDE.stages)
    assert [stage.stage for stage in trims.stages] == [StageName.TRIMS]
    assert trims.side == {}


def test_a_version_restores_its_side_weights(golden: World) -> None:
    backend = chip("harsh-side")
    result = run(golden, backend)
    version = golden.student._replace(codes=result.codes, side=result.side)
    stored = Student.from_block(version.to_block())
    session = ChipSession(backend, golden.student)
    session.set_side({})
    without = session.measure(golden.test)
    session.set_side(stored.side)
    again = session.measure(golden.test)
    assert sum(again.rate_error) == pytest.approx(error(result), rel=0.1)
    assert sum(without.rate_error) > 1.5 * sum(again.rate_error)  # measured: 1.9


def test_a_roll_back_restores_the_side_weights_of_the_start(world: World) -> None:
    first = run(world, chip("harsh-side"), SHORT)
    backend, side = watched()
    calibration = Calibration(
        backend,
        world.student,
        world.targets,
        world.test,
        SHORT,
        start=InForce(first.codes, side=first.side),
    )
    for progress in calibration.steps():
        if progress.phase is Phase.VERIFYING:
            break
    started, learned = side_matrix(first.side["layer5"]), side["layer5"]
    assert learned is not None
    assert not torch.allclose(side_matrix(learned), started, atol=0.1)
    calibration.roll_back()
    found = side["layer5"]
    assert found is not None
    assert torch.equal(side_matrix(found), started)


def test_learning_goes_on_from_its_checkpoint_as_if_never_stopped(world: World) -> None:
    whole, resumed = whole_and_resumed(world, "harsh-side", SHORT, step=20)
    assert resumed.result.after == whole.result.after
    for name, side in whole.result.side.items():
        assert torch.equal(resumed.result.side[name].up, side.up)


def test_a_chip_without_side_weights_is_refused_if_no_other_stage_is_named(world: World) -> None:
    alone = SIDE.model_copy(update={"stages": (StageName.SIDE,)})
    with pytest.raises(NoSideWeightsError):
        Calibration(chip("harsh"), world.student, world.targets, world.test, alone)
    Calibration(chip("harsh-side"), world.student, world.targets, world.test, alone)


def test_side_weights_of_a_version_need_a_chip_that_has_them(world: World) -> None:
    layer = world.student.network.matrices[0]
    rows = size(layer.weight_shape[1:])
    codes = (torch.ones(1, rows, dtype=torch.int8), torch.ones(layer.weight_shape[0], 1).char())
    session = ChipSession(chip("harsh"), world.student)
    session.place()
    session.set_side({})
    with pytest.raises(NoSideWeightsError):
        session.set_side({layer.name: SideWeights(*codes, 1.0, 1.0)})
