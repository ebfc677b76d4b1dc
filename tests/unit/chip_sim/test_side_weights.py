"""Digital side weights: exact sums of low rank beside the array, which no physics touches."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from chip_sim.chip import SimulatedChip, make_chip
from chip_sim.drive import RowDrive, drive_of, row_drive
from chip_sim.presets import NAMES, SIDE, preset
from chip_sim.side_weights import side_sums
from chip_sim.spec import ChipSpec
from ltl_core.chip import LayerSettings, Observable, Placement, SideWeights, Stimulus
from ltl_core.errors import NoSideWeightsError
from ltl_core.network.layers import AvgPool2d, Conv2d, Linear
from ltl_core.network.spec import NetworkSpec
from ltl_core.network.stages import Stage
from tests.unit.chip_sim.conftest import Build
from tests.unit.chip_sim.stimuli import EVERYTHING, images, membrane

RANK = 3


def rng() -> torch.Generator:
    return torch.Generator().manual_seed(9)


def drawn(stage: Stage, rank: int = RANK) -> SideWeights:
    down = torch.randint(-127, 128, (rank, stage.rows), generator=rng())
    up = torch.randint(-127, 128, (stage.columns, rank), generator=rng())
    return SideWeights(down, up, 2.0**-9, 2.0**-4)


def matrix(weights: SideWeights) -> Tensor:
    """The whole matrix, code units; its scales are powers of two, so that it is exact."""
    product = weights.up.double() @ weights.down.double()
    return product * (weights.up_scale * weights.down_scale)


@pytest.mark.parametrize("groups", [1, 3])
def test_a_convolution_adds_what_its_whole_matrix_would(groups: int) -> None:
    layer = Conv2d(name="conv", in_channels=6, out_channels=9, kernel=(3, 2), groups=groups)
    readout = Linear(name="readout", in_features=9 * 30, out_features=2)
    stage = NetworkSpec(input_shape=(6, 7, 7), layers=(layer, readout)).stages[0]
    spikes = (torch.rand(40, 6, 7, 7, generator=rng()) < 0.5).float()
    weights = drawn(stage)
    kernel = matrix(weights).view(layer.weight_shape)
    expected = F.conv2d(spikes.double(), kernel, groups=groups)
    found = side_sums(weights, stage, RowDrive(spikes, 1.0), analog=False)
    assert torch.equal(found, expected.float())


def test_means_over_a_pool_are_counts_of_spikes() -> None:
    """A ninth is no binary fraction, but nine spikes are a whole number."""
    network = NetworkSpec(
        input_shape=(2, 6, 6),
        layers=(
            Conv2d(name="conv", in_channels=2, out_channels=4, kernel=(1, 1)),
            AvgPool2d(name="pool", kernel=(3, 3), stride=(3, 3)),
            Linear(name="readout", in_features=16, out_features=5),
        ),
    )
    stage = network.stages[1]
    spikes = (torch.rand(8, 30, 4, 6, 6, generator=rng()) < 0.5).float()
    rows = row_drive(stage, drive_of(Stimulus(spikes, 8, "readout"), stage, 1.0), ChipSpec())
    weights = drawn(stage)
    counts = F.avg_pool2d(spikes.flatten(0, 1).double(), 3, divisor_override=1).flatten(1)
    expected = counts @ matrix(weights).T / 9
    assert torch.equal(side_sums(weights, stage, rows, analog=False), expected.float())


def test_the_first_layer_multiplies_dac_codes() -> None:
    stage = one_layer(300, 20).network.stages[0]
    shown = torch.rand(50, 300, generator=rng()) * 2 - 1
    rows = row_drive(stage, drive_of(Stimulus(shown, 5), stage, 1.0), ChipSpec())
    weights = drawn(stage)
    codes = (shown * 127).round().double()
    expected = (codes @ matrix(weights).T) * (1 / 127)
    found = side_sums(weights, stage, rows, analog=True)
    torch.testing.assert_close(found.double(), expected, rtol=1e-6, atol=1e-9)
    assert not torch.allclose(found.double(), shown.double() @ matrix(weights).T, rtol=1e-6)


@pytest.mark.parametrize("bits", [8, 16])
def test_large_sums_of_dac_codes_are_exact(bits: int) -> None:
    """With 16 bits they grow out of what single precision holds."""
    network = NetworkSpec(
        input_shape=(100, 9, 9),
        layers=(
            AvgPool2d(name="pool", kernel=(3, 3), stride=(3, 3)),
            Linear(name="readout", in_features=900, out_features=20),
        ),
    )
    stage, top = network.stages[0], 2 ** (bits - 1)
    codes = torch.randint(1 - top, top, (50, 900), generator=rng()).float()
    weights = drawn(stage)
    expected = (codes.double() @ matrix(weights).T).float()
    found = side_sums(weights, stage, RowDrive(codes, 1.0), analog=True)
    assert torch.equal(found, expected)
    single = codes @ weights.down.float().T @ weights.up.float().T * 2.0**-13
    assert not torch.equal(single, expected)


def one_layer(rows: int, columns: int) -> Placement:
    layer = Linear(name="readout", in_features=rows, out_features=columns)
    network = NetworkSpec(input_shape=(rows,), layers=(layer,))
    return Placement(network, {"readout": LayerSettings(60.0, 0.9, 20.0, 240.0)}, 1.0)


def sums(chip: SimulatedChip, spikes: Tensor) -> Tensor:
    """The readout's sums in every step."""
    shown = chip.run(Stimulus(spikes, len(spikes), "readout"), {"readout": Observable.MEMBRANE})
    total = membrane(shown, "readout")
    return torch.diff(total, dim=0, prepend=torch.zeros_like(total[:1]))


def test_a_layer_with_few_columns_holds_a_whole_matrix() -> None:
    """With one rank for each column, `up` can be the unit matrix and `down` any matrix."""
    chip = make_chip("c", preset("ideal-side"), 1)
    chip.place(one_layer(40, 8))
    whole = torch.randint(-127, 128, (8, 40), generator=rng())
    chip.set_side("readout", SideWeights(whole, torch.eye(8, dtype=torch.int64), 1.0, 0.5))
    spikes = (torch.rand(3, 10, 40, generator=rng()) < 0.5).float()
    assert torch.equal(sums(chip, spikes), spikes @ whole.T.float() / 2)


def test_neither_gain_nor_offset_nor_drift_acts_on_side_weights() -> None:
    """Two chips of one seed: what the side weights add is the same to the rounding of a sum."""
    with_side, without = (make_chip("c", preset("pcm-side"), 4) for _ in range(2))
    for chip in (with_side, without):
        chip.place(one_layer(40, 8))
        chip.program("readout", torch.randint(-20, 21, (8, 40), generator=rng()))
        chip.tune("readout", chip.tuning("readout")._replace(readout_gain=64))
    weights = drawn(one_layer(40, 8).network.stages[0])
    with_side.set_side("readout", weights)
    spikes = (torch.rand(1, 10, 40, generator=rng()) < 0.5).float()
    expected = spikes @ matrix(weights).float().T
    for _ in range(2):
        added = sums(with_side, spikes) - sums(without, spikes)
        torch.testing.assert_close(added, expected, rtol=0, atol=1e-3)
        for chip in (with_side, without):
            chip.advance(86400.0)
    assert float(expected.abs().max()) > 1.0


def test_side_weights_are_saved_and_restored(build: Build, network: NetworkSpec) -> None:
    spec = preset("harsh-side")
    chip, plain = build(spec), build(spec)
    for stage in network.stages[::2]:
        chip.set_side(stage.name, drawn(stage))
    twin = make_chip("bench-1", spec, 5)
    twin.restore(chip.state())
    shown = [one.run(images(), EVERYTHING) for one in (chip, twin, plain)]
    for layer in ("first", "third"):
        assert torch.equal(membrane(shown[0], layer), membrane(shown[1], layer))
        assert not torch.equal(membrane(shown[0], layer), membrane(shown[2], layer))
    twin.set_side("first", None)
    assert "layer/first/side_up" not in twin.state()


@pytest.mark.parametrize("name", NAMES)
def test_the_variant_of_a_preset_is_the_same_chip_with_side_weights(
    build: Build, name: str
) -> None:
    chip, plain = build(preset(name + SIDE)), build(preset(name))
    assert chip.info == plain.info._replace(model=name + SIDE, side_rank=8)
    one, two = chip.run(images(), EVERYTHING), plain.run(images(), EVERYTHING)
    assert all(torch.equal(membrane(one, layer), membrane(two, layer)) for layer in EVERYTHING)
    with pytest.raises(NoSideWeightsError):
        plain.set_side("first", None)
