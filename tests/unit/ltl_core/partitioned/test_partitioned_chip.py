"""A network larger than its chip computes what it does on a chip that holds it; writes count."""

from typing import Any

import pytest
import torch

from chip_sim.chip import SimulatedChip, make_chip
from chip_sim.presets import preset
from chip_sim.spec import info_of
from ltl_core.calibration.loop import Calibration
from ltl_core.calibration.result import CalibrationResult, EndedBy
from ltl_core.chip import (
    ChipBackend,
    LayerRecording,
    LayerSettings,
    Observable,
    Placement,
    Stimulus,
)
from ltl_core.default_probe import probe_by_run
from ltl_core.errors import (
    CapacityError,
    ChipError,
    CodeRangeError,
    LayerShapeError,
    TooManyPassesError,
    UnsupportedLayerError,
)
from ltl_core.network.spec import NetworkSpec
from ltl_core.optional_verbs import write_layers
from ltl_core.partitioned.chip import PartitionedChip
from ltl_core.partitioned.plan import check_passes, plan_passes
from ltl_core.settings import Budget, CalibrationSettings, Data, StageName
from ltl_core.student.evaluate import chip_logits
from tests.bare_chip import BareChip
from tests.blobs import World

STEPS = 16
# conv 6 x 9, fc 16 x 54, fc 4 x 16 on tiles of 8 columns and 16 rows: 1, 8 and 1 tiles.
ENOUGH, SMALL = 10, 5


def chip(tiles: int, name: str = "ideal", **changes: Any) -> SimulatedChip:
    sizes = {"tile_rows": 16, "tile_columns": 8, "tiles": tiles}
    return make_chip("small-1", preset(name).model_copy(update=sizes | changes), 1)


def written(backend: ChipBackend, world: World) -> ChipBackend:
    backend.place(world.student.placement())
    write_layers(backend, world.student.codes)
    return backend


@pytest.fixture(scope="module")
def whole(world: World) -> ChipBackend:
    """A chip that holds the network."""
    return written(chip(ENOUGH), world)


@pytest.fixture
def parts(world: World) -> PartitionedChip:
    """The same chip with half as many tiles: a layer of the network is larger than it."""
    backend = PartitionedChip(chip(SMALL))
    written(backend, world)
    return backend


def same(one: LayerRecording, other: LayerRecording) -> bool:
    pairs = zip(one, other, strict=True)
    return all(a is b if a is None or b is None else torch.equal(a, b) for a, b in pairs)


def cells_of(world: World) -> int:
    return sum(int((codes.weight != 0).sum()) for codes in world.student.codes.values())


def test_layers_share_a_pass_and_a_large_layer_is_cut(world: World) -> None:
    names = [stage.name for stage in world.network.stages]

    def passes(tiles: int) -> list[list[tuple[str, int, int]]]:
        planned = plan_passes(world.network, chip(tiles).info)
        return [
            [(part.stage.name, part.first, part.end) for part in made.parts] for made in planned
        ]

    first, large, readout = (names[0], 0, 6), (names[1], 0, 16), (names[2], 0, 4)
    halves = [[(names[1], 0, 8)], [(names[1], 8, 16)]]
    assert passes(ENOUGH) == [[first, large, readout]]
    assert passes(ENOUGH - 1) == [[first], [large, readout]]
    assert passes(SMALL) == [[first], *halves, [readout]]


@pytest.mark.parametrize("observable", list(Observable))
def test_parts_answer_what_the_whole_network_does(
    world: World, whole: ChipBackend, parts: PartitionedChip, observable: Observable
) -> None:
    assert parts.passes == 4
    record = {
        stage.name: Observable.MEMBRANE if stage.is_readout else observable
        for stage in world.network.stages
    }
    stimulus = Stimulus(world.test.samples.inputs[:8], STEPS)
    expected, found = whole.run(stimulus, record).layers, parts.run(stimulus, record).layers
    assert list(found) == list(expected) == list(record)
    assert all(same(found[name], expected[name]) for name in record)
    (name, layer), *_ = expected.items()
    assert layer.counts is None or int(layer.counts.sum()) > 100, name


@pytest.mark.parametrize("tiles", [ENOUGH - 1, 7, SMALL])
def test_logits_are_those_of_the_whole_network(
    world: World, whole: ChipBackend, tiles: int
) -> None:
    inputs = world.test.samples.inputs[:50]
    expected = chip_logits(whole, world.student, inputs)
    small = PartitionedChip(chip(tiles))
    assert torch.equal(chip_logits(written(small, world), world.student, inputs), expected)
    codes = world.student.codes[world.network.stages[1].name]
    large = world.network.stages[1].name
    small.program(large, torch.zeros_like(codes.weight))  # the control: a layer of zeros is seen
    assert not torch.equal(chip_logits(small, world.student, inputs), expected)


def test_spikes_that_are_played_into_a_layer_begin_at_its_part(
    world: World, whole: ChipBackend, parts: PartitionedChip
) -> None:
    large, readout = world.network.stages[1:]
    spikes = torch.rand(STEPS, 5, *large.source_shape) < 0.4
    stimulus = Stimulus(spikes.float(), STEPS, large.name)
    record = {large.name: Observable.COUNTS, readout.name: Observable.MEMBRANE}
    expected, found = whole.run(stimulus, record).layers, parts.run(stimulus, record).layers
    assert all(same(found[name], expected[name]) for name in record)
    # The first layer was never written: its part was not needed.
    in_parts = sum(int((world.student.codes[name].weight != 0).sum()) for name in record)
    assert parts.written().cells == in_parts
    with pytest.raises(ChipError, match="does not reach"):
        parts.run(stimulus, {world.network.stages[0].name: Observable.COUNTS})


def test_every_run_writes_all_parts_again_and_counts_them(
    world: World, parts: PartitionedChip
) -> None:
    inputs, cells = world.test.samples.inputs[:4], cells_of(world)
    assert parts.written().cells == 0
    began = parts.now()
    for runs in (1, 2):
        chip_logits(parts, world.student, inputs)
        assert parts.written().cells == runs * cells
    assert parts.written().pulses >= 2 * cells
    assert parts.now() > began
    held = PartitionedChip(chip(ENOUGH))  # the control: one pass is written once
    written(held, world)
    for _ in range(2):
        chip_logits(held, world.student, inputs)
    assert held.written().cells == cells


def test_a_chip_in_passes_is_probed_as_a_whole_one(
    world: World, whole: ChipBackend, parts: PartitionedChip
) -> None:
    found = parts.probe().rates
    torch.testing.assert_close(found, probe_by_run(whole, world.student.placement()).rates)
    assert list(found) == [stage.name for stage in world.network.stages]


def test_trims_act_on_their_columns(world: World, parts: PartitionedChip) -> None:
    large = world.network.stages[1].name
    codes = world.student.codes[large]
    stimulus = Stimulus(world.test.samples.inputs[:20], STEPS)

    def counts() -> torch.Tensor:
        found = parts.run(stimulus, {large: Observable.COUNTS}).layers[large].counts
        assert found is not None
        return found.sum(0)

    before = counts()
    bias = codes.bias.long().clone()
    bias[12] = 127  # of the second part
    parts.trim(large, codes.threshold.long(), bias)
    changed = (counts() != before).nonzero().flatten().tolist()
    assert changed == [12]


def test_what_does_not_fit_is_refused_before_anything_is_kept(
    world: World, parts: PartitionedChip
) -> None:
    large = world.network.stages[1].name
    kept = world.student.codes[large].weight
    with pytest.raises(CodeRangeError):
        parts.program(large, torch.full_like(kept, 64))
    with pytest.raises(LayerShapeError):
        parts.program(large, kept[:-1])
    with pytest.raises(ChipError, match="elsewhere"):
        parts.program("elsewhere", kept)
    assert parts.program(large, kept).cells == 0


def test_what_cannot_be_cut_is_refused_and_named(world: World) -> None:
    with pytest.raises(CapacityError) as caught:
        plan_passes(world.network, chip(4).info)  # a column of 54 rows, and its observer
    assert (caught.value.needed, caught.value.available) == (5, 4)
    bare = BareChip().info._replace(tile_rows=16, tile_columns=8, tiles=SMALL)
    with pytest.raises(UnsupportedLayerError, match="cannot record the spikes"):
        plan_passes(world.network, bare)
    assert len(plan_passes(world.network, bare._replace(tiles=ENOUGH))) == 1
    shape = {"kind": "conv2d", "in_channels": 2, "out_channels": 2, "kernel": [1, 1]}
    layers = [
        {**shape, "name": "first"},
        {**shape, "name": "second", "fires": False},
        {"kind": "add", "name": "sum", "inputs": ["first", "second"]},
        {"kind": "linear", "name": "readout", "in_features": 2, "out_features": 2},
    ]
    added = NetworkSpec.model_validate({"input_shape": (2, 1, 1), "layers": layers})
    with pytest.raises(UnsupportedLayerError, match="sum"):
        plan_passes(added, info_of(preset("ideal"), "c")._replace(tiles=1))
    settings = dict.fromkeys(("sum", "readout"), LayerSettings(60.0, 0.9, 20.0, 240.0))
    with pytest.raises(UnsupportedLayerError, match="sum"):  # also where all of it would fit
        PartitionedChip(chip(ENOUGH)).place(Placement(added, settings, 1.0))


def test_more_passes_than_allowed_are_refused_with_what_they_cost(world: World) -> None:
    info = chip(SMALL).info
    assert check_passes(world.network, info, 4) == 4
    with pytest.raises(TooManyPassesError) as caught:
        check_passes(world.network, info, 3)
    cells = sum(stage.rows * stage.columns for stage in world.network.stages)
    found = caught.value
    assert (found.needed, found.available) == (ENOUGH, SMALL)
    assert (found.passes, found.cells_per_run) == (4, cells)
    assert "passes_max 4" in str(found)


def calibrated(world: World, backend: ChipBackend, **budget: Any) -> CalibrationResult:
    settings = CalibrationSettings(
        stages=(StageName.TRIMS,),
        budget=Budget(samples=256, **budget),
        batch=16,
        data=Data.LAB,
        target_points=None,
        settle_s=0.0,
        verification_samples=64,
        test_samples=60,
    )
    calibration = Calibration(backend, world.student, world.targets, world.test, settings)
    for _ in calibration.steps():
        pass
    return calibration.result


def test_a_chip_is_calibrated_in_passes_and_pays_for_them(world: World) -> None:
    found = calibrated(world, PartitionedChip(chip(SMALL, "harsh")))
    assert found.improved
    assert found.after.verification.loss < 0.9 * found.before.verification.loss
    runs = 16 + 4  # steps; at least two measurements and two judgements
    assert found.spent.cells > runs * 0.8 * cells_of(world)
    assert found.spent.pulses > found.spent.cells


def test_a_budget_of_writes_ends_the_learning_in_passes(world: World) -> None:
    found = calibrated(world, PartitionedChip(chip(SMALL, "harsh")), cell_writes_per_cell=8.0)
    assert found.ended_by is EndedBy.WRITES
    assert 0 < found.spent.samples < 256
    held = calibrated(world, chip(ENOUGH, "harsh"), cell_writes_per_cell=8.0)
    assert (held.spent.samples, held.spent.cells) == (256, 0)  # trims write no cell
