"""How the steps of a calibration are shared out among its stages."""

import pytest

from ltl_core.calibration.plan import Plan
from ltl_core.settings import STAGES, Budget, CalibrationSettings, MethodName, StageName
from tests.blobs import World

TRIMS, SIDE, CELLS = StageName.TRIMS, StageName.SIDE, StageName.CELLS


def spans(
    world: World, *names: StageName, has_side: bool = True
) -> list[tuple[StageName, int, int]]:
    settings = CalibrationSettings(budget=Budget(samples=400), stages=names or STAGES)
    plan = Plan(world.targets, settings, has_side=has_side)
    assert plan.total_steps == (plan.stages[-1].end if plan.stages else 0)
    return [(stage.name, stage.first, stage.end) for stage in plan.stages]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ((TRIMS,), [(TRIMS, 0, 100)]),
        ((SIDE,), [(SIDE, 0, 100)]),
        ((CELLS,), [(CELLS, 0, 80), (CELLS, 80, 100)]),
        ((TRIMS, SIDE), [(TRIMS, 0, 20), (SIDE, 20, 100)]),
        ((TRIMS, CELLS), [(TRIMS, 0, 20), (CELLS, 20, 80), (CELLS, 80, 100)]),
        ((SIDE, CELLS), [(SIDE, 0, 40), (CELLS, 40, 80), (CELLS, 80, 100)]),
        ((), [(TRIMS, 0, 20), (SIDE, 20, 60), (CELLS, 60, 80), (CELLS, 80, 100)]),
        ((StageName.TUNE,), []),
    ],
)
def test_stages_follow_one_another_over_all_steps(
    world: World, names: tuple[StageName, ...], expected: list[tuple[StageName, int, int]]
) -> None:
    assert spans(world, *names) == expected


def test_a_chip_without_side_weights_gives_their_steps_to_the_others(world: World) -> None:
    assert spans(world, has_side=False) == spans(world, TRIMS, CELLS)
    assert spans(world, TRIMS, SIDE, has_side=False) == spans(world, TRIMS)
    assert spans(world) != spans(world, TRIMS, CELLS)


def test_a_method_of_trims_has_the_stage_of_trims_alone_in_half_as_many_steps(world: World) -> None:
    settings = CalibrationSettings(method=MethodName.SPSA, budget=Budget(samples=400))
    (stage,) = Plan(world.targets, settings, has_side=True).stages
    assert (stage.name, stage.first, stage.end) == (TRIMS, 0, 50)  # each presents a batch twice


def test_a_chip_settles_amid_the_writing_of_cells_and_before_the_last_trims(world: World) -> None:
    settings = CalibrationSettings(budget=Budget(samples=400), stages=(TRIMS, CELLS))
    plan = Plan(world.targets, settings)
    settling = [step for stage in plan.stages for step in range(100) if stage.settles_at(step)]
    assert settling == [50, 80]
    few = Plan(world.targets, settings.model_copy(update={"budget": Budget(samples=120)}))
    assert [s for stage in few.stages for s in range(30) if stage.settles_at(s)] == [24]
    trims = Plan(world.targets, settings.model_copy(update={"stages": (TRIMS,)}))
    assert not any(stage.settles_at(step) for stage in trims.stages for step in range(100))
