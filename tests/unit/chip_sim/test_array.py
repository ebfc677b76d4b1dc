"""The multiply against its definition, and its noise against brute force."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from chip_sim import pair
from chip_sim.array import ClipMeter, TileArray, column_norms, read_columns, read_noise_spread
from chip_sim.converter import AdcBank, transfer_of
from chip_sim.gaussian_table import GaussianTable
from chip_sim.presets import preset
from chip_sim.products import ImagePart, RowInput, parts, sum_of_squares
from chip_sim.row_values import rows_of, unfold
from chip_sim.spec import ChipSpec, DeviceSpec, tiles_of
from chip_sim.tiling import tile_stage
from ltl_core.network.layers import Conv2d, Linear
from ltl_core.network.spec import NetworkSpec
from ltl_core.network.stages import Stage

SMALL = ChipSpec(tile_rows=7, tile_columns=4)


@pytest.fixture
def stage() -> Stage:
    network = NetworkSpec(
        input_shape=(3, 7, 5),
        layers=(
            Conv2d(
                name="conv",
                in_channels=3,
                out_channels=6,
                kernel=(3, 2),
                stride=(2, 1),
                padding=(1, 0),
            ),
            Linear(name="readout", in_features=96, out_features=2),
        ),
    )
    return network.stages[0]


@pytest.fixture
def linear() -> Stage:
    layers = (Linear(name="readout", in_features=600, out_features=40),)
    return NetworkSpec(input_shape=(600,), layers=layers).stages[0]


def bank(*shape: int) -> AdcBank:
    return AdcBank(torch.ones(shape), torch.zeros(shape), torch.zeros(shape))


def array(
    stage: Stage,
    weight: Tensor,
    spec: ChipSpec = SMALL,
    *,
    full_scale: float = 32767.0,
    bits: int = 16,
    read_noise: float = 0.0,
) -> TileArray:
    blocks = tile_stage(stage, spec, 0).row_blocks
    transfer = transfer_of(bank(len(blocks), stage.columns), [full_scale] * len(blocks), bits)
    return TileArray(weight, blocks, transfer, bits, read_noise)


def rng() -> torch.Generator:
    return torch.Generator().manual_seed(3)


def test_a_row_is_a_weight_of_the_kernel(stage: Stage) -> None:
    values = torch.randn(4, 3, 7, 5, generator=rng())
    expected = F.unfold(values, (3, 2), stride=(2, 1), padding=(1, 0))
    assert isinstance(stage.layer, Conv2d)
    assert torch.equal(unfold(values, stage.layer), expected.transpose(0, 1).flatten(1))


def test_samples_are_taken_in_parts_that_make_up_the_whole(stage: Stage) -> None:
    values = torch.randn(9000, 3, 7, 5, generator=rng())
    parts = [(part.samples, part.values.clone()) for part in rows_of(values, stage)]
    assert len(parts) > 1
    assert isinstance(stage.layer, Conv2d)
    assert torch.equal(torch.cat([rows for _, rows in parts], 1), unfold(values, stage.layer))
    assert [s.start for s, _ in parts[1:]] == [s.stop for s, _ in parts[:-1]]


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("tile_rows", [1, 5, 7, 18, 64])
def test_every_tile_size_gives_the_convolution(stage: Stage, tile_rows: int, binary: bool) -> None:
    values = torch.randint(0, 2, (4, 3, 7, 5), generator=rng()).float()
    weight = torch.randint(-63, 64, (6, 18), generator=rng()).float()
    spec = ChipSpec(tile_rows=tile_rows, tile_columns=4)
    played = RowInput(values, 1, analog=False, binary=binary)
    codes = read_columns(array(stage, weight, spec), played, stage, rng())
    expected = F.conv2d(values, weight.view(6, 3, 3, 2), stride=(2, 1), padding=(1, 0))
    assert torch.equal(codes[0], expected)


@pytest.fixture
def grouped() -> Stage:
    shape = {"in_channels": 6, "out_channels": 9, "kernel": (3, 3), "groups": 3}
    layers = (
        Conv2d(name="conv", **shape),
        Linear(name="readout", in_features=9 * 25, out_features=2),
    )
    return NetworkSpec(input_shape=(6, 7, 7), layers=layers).stages[0]


@pytest.mark.parametrize("tile_rows", [5, 18, 64])
def test_columns_of_a_group_use_its_rows_alone(grouped: Stage, tile_rows: int) -> None:
    values = torch.randint(0, 2, (4, 6, 7, 7), generator=rng()).float()
    weight = torch.randint(-63, 64, (9, 18), generator=rng()).float()
    spec = ChipSpec(tile_rows=tile_rows, tile_columns=2)
    codes = read_columns(array(grouped, weight, spec), RowInput(values, 1, False), grouped, rng())
    assert torch.equal(codes[0], F.conv2d(values, weight.view(9, 2, 3, 3), groups=3))


def test_every_group_begins_on_a_fresh_tile(grouped: Stage) -> None:
    spec = ChipSpec(tile_rows=10, tile_columns=2)
    tiling = tile_stage(grouped, spec, 4)
    assert len(tiling.regions) == tiles_of(grouped, spec) == 3 * 2 * 2
    first_row = [(part.tile, part.columns) for part in tiling.regions[:6]]
    starts = [(0, 2), (2, 3), (3, 5), (5, 6), (6, 8), (8, 9)]
    assert first_row == [(4 + n, slice(*ends)) for n, ends in enumerate(starts)]


def test_analog_sums_of_groups_are_rounded_again_by_their_own_rows(grouped: Stage) -> None:
    """Levels right at a half: single precision alone would round some of them the other way."""
    values = torch.randint(-127, 128, (40, 6, 7, 7), generator=rng()).float()
    weight = (torch.randn(9, 18, generator=rng()) * 20 * 1024).round() / 1024
    made = array(grouped, weight, ChipSpec(), full_scale=3e4, bits=8)
    exact = F.conv2d(values.double(), weight.double().view(9, 2, 3, 3), groups=3)
    found = read_columns(made, RowInput(values, 1, True), grouped, rng())[0]
    scale = torch.tensor(127 / 3e4)  # the converter itself works in single precision
    assert torch.equal(found, (exact.float() * scale).round().clamp(-127, 127))


def test_each_row_of_tiles_is_converted_by_itself(stage: Stage) -> None:
    values = torch.rand(2, 3, 7, 5, generator=rng())
    weight = torch.randint(-63, 64, (6, 18), generator=rng()).float()
    codes = read_columns(
        array(stage, weight, full_scale=100.0, bits=8), RowInput(values, 1, False), stage, rng()
    )
    assert isinstance(stage.layer, Conv2d)
    rows = unfold(values, stage.layer)
    parts = [weight[:, at : at + 7] @ rows[at : at + 7] * 1.27 for at in (0, 7, 14)]
    expected = sum(part.round().clamp(-127, 127) for part in parts)
    assert isinstance(expected, Tensor)
    assert torch.equal(codes[0].transpose(0, 1).flatten(1), expected)


def test_read_noise_is_what_fresh_weights_would_give() -> None:
    values, sigma = torch.rand(18, 50, generator=rng()), 0.3
    fresh = sigma * torch.randn(20_000, 18, generator=rng())  # as many columns of weight zero
    spread, brute = read_noise_spread(sum_of_squares(values), sigma), (fresh @ values).std(0)
    torch.testing.assert_close(brute, spread, rtol=0.03, atol=1e-6)
    assert not torch.allclose(brute, spread * 1.05, rtol=0.03)


def test_spikes_are_their_own_squares() -> None:
    values = torch.randint(0, 2, (2, 300, 50), generator=rng()).float()
    assert torch.equal(sum_of_squares(values, binary=True), sum_of_squares(values))
    values[0, 7] = 0.5  # such as the mean over a pool
    assert not torch.equal(sum_of_squares(values, binary=True), sum_of_squares(values))


@pytest.mark.parametrize("tile_rows", [5, 7, 64])
def test_spikes_as_images_answer_as_a_matrix_does(stage: Stage, tile_rows: int) -> None:
    spikes = torch.randint(0, 2, (40, 3, 7, 5), generator=rng()).float()
    weight = (torch.randn(6, 18, generator=rng()) * 20 * 1024).round() / 1024
    spec = ChipSpec(tile_rows=tile_rows, tile_columns=4)
    noisy = array(stage, weight, spec, full_scale=500.0, bits=8, read_noise=0.5)
    matrix, images = (
        read_columns(noisy, RowInput(spikes, 1, False, binary), stage, rng())
        for binary in (False, True)
    )
    assert torch.equal(matrix, images)
    silent = spikes * (torch.arange(40) > 0).view(-1, 1, 1, 1)
    other = read_columns(noisy, RowInput(silent, 1, False, True), stage, rng())
    assert not torch.equal(other, images)


@pytest.mark.parametrize(("largest", "images"), [(60.0, True), (2000.0, False)])
def test_spikes_are_images_where_no_sum_can_be_rounded(
    stage: Stage, largest: float, images: bool
) -> None:
    spikes = torch.ones(2, 3, 7, 5)
    played = RowInput(spikes, 1, analog=False, binary=True)
    found = parts(torch.full((6, 18), largest), (slice(0, 18),), played, stage)
    assert all(isinstance(part, ImagePart) == images for part in found)


def one_tile_after_the_other(made: TileArray, spikes: Tensor) -> Tensor:
    """Read a linear layer as its definition says; return the codes [sample, column]."""
    gaussian, total = GaussianTable(rng()), torch.zeros(len(spikes), len(made.weight))
    for row, block in enumerate(made.row_blocks):
        sums, transfer = spikes[:, block] @ made.weight[:, block].T, made.transfer.tiles(row)
        spread = read_noise_spread(spikes[:, block].sum(1), made.read_noise)[:, None]
        numbers = gaussian.take(sums.numel()).view(sums.shape)
        levels = torch.addcmul(sums, numbers, spread)
        total += torch.addcmul(transfer.offset, levels, transfer.scale).round().clamp(-127, 127)
    return total


@pytest.mark.parametrize("batch", [1, 3, 8, 400])
@pytest.mark.parametrize("columns", [39, 40])
def test_tiles_converted_together_answer_as_one_after_the_other(batch: int, columns: int) -> None:
    layers = (Linear(name="readout", in_features=600, out_features=columns),)
    linear = NetworkSpec(input_shape=(600,), layers=layers).stages[0]
    spikes = torch.randint(0, 2, (batch, 600), generator=rng()).float()
    weight = (torch.randn(columns, 600, generator=rng()) * 20 * 1024).round() / 1024
    spec = ChipSpec(tile_rows=256)
    noisy = array(linear, weight, spec, full_scale=900.0, bits=8, read_noise=0.5)
    codes = read_columns(noisy, RowInput(spikes, 1, False, True), linear, rng())[0]
    assert torch.equal(codes, one_tile_after_the_other(noisy, spikes))
    assert not torch.equal(codes, one_tile_after_the_other(noisy, spikes.roll(1, 1)))


def test_clipped_codes_are_counted_at_both_ends_whatever_their_order_in_memory() -> None:
    codes = torch.tensor([[[-127.0, 126.0, 127.0], [0.0, -126.0, 1.0]]])
    meter = ClipMeter(127, 2)
    meter.watch(0, codes)
    meter.watch(1, codes.mT)
    meter.watch(1, torch.zeros(1, 2, 3))
    assert meter.fractions.tolist() == pytest.approx([2 / 6, 2 / 12])
    narrower = ClipMeter(126, 1)
    narrower.watch(0, codes)
    assert narrower.fractions.tolist() == pytest.approx([4 / 6])


def test_read_noise_is_drawn_for_each_row_of_tiles(linear: Stage) -> None:
    values, spec = torch.ones(2000, 600), ChipSpec()
    noisy = array(linear, torch.zeros(40, 600), spec, full_scale=327.67, read_noise=0.01)
    codes = read_columns(noisy, RowInput(values, 1, False), linear, rng()) / 100
    assert float(codes.std()) == pytest.approx(0.01 * 600**0.5, rel=0.015)
    assert float(codes.std()) != pytest.approx(0.01 * 600**0.5 * 1.05, rel=0.015)


def test_held_values_are_read_with_fresh_noise_each_time(linear: Stage) -> None:
    noisy = array(linear, torch.zeros(40, 600), ChipSpec(), full_scale=327.67, read_noise=0.01)
    codes = read_columns(noisy, RowInput(torch.ones(500, 600), 2, True), linear, rng())
    once, again = codes[0].flatten(), codes[1].flatten()
    assert abs(float(torch.corrcoef(torch.stack((once, again)))[0, 1])) < 0.03


@pytest.mark.parametrize(("bits", "noise"), [(8, 0.0), (8, 0.3), (12, 0.0)])
def test_analog_sums_do_not_depend_on_the_order_of_their_terms(
    linear: Stage, bits: int, noise: float
) -> None:
    values = torch.randint(-127, 128, (300, 600), generator=rng()).float()
    weight = (torch.randn(40, 600, generator=rng()) * 20 * 1024).round() / 1024
    blocks, order = (slice(0, 600),), torch.randperm(600, generator=rng())
    made = array(linear, weight, full_scale=3e5, bits=bits, read_noise=noise)
    made = made._replace(row_blocks=blocks, transfer=made.transfer.tiles(slice(1)))
    shuffled = made._replace(weight=weight[:, order])
    one = read_columns(made, RowInput(values, 1, True), linear, rng())
    two = read_columns(shuffled, RowInput(values[:, order], 1, True), linear, rng())
    assert torch.equal(one, two)


@pytest.mark.parametrize(("gain", "may_round"), [(1.0, False), (4.0, True)])
def test_sums_that_fit_24_bits_need_no_second_rounding(
    linear: Stage, gain: float, may_round: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = (torch.randn(300, 600, generator=rng()) * 32).round().clamp(-127, 127)
    weight = pair.for_analog_codes(torch.randn(40, 600, generator=rng()) * 20 * gain)
    blocks, order = (slice(0, 600),), torch.randperm(600, generator=rng())
    made = array(linear, weight, full_scale=3e5, bits=8)
    norms = column_norms(weight, blocks)
    made = made._replace(row_blocks=blocks, transfer=made.transfer.tiles(slice(1)), norms=norms)
    settled = read_columns(made, RowInput(values, 1, True), linear, rng())
    monkeypatch.setattr("chip_sim.array.round_again_", lambda *_: None)
    assert torch.equal(made.weight @ values.T, weight[:, order] @ values[:, order].T) != may_round
    bare = read_columns(made, RowInput(values, 1, True), linear, rng())
    # The sums of the larger weights do round: the guard is there for them.
    assert torch.equal(settled, bare) or may_round


def test_single_precision_alone_would_depend_on_it() -> None:
    values = torch.randint(-127, 128, (300, 600), generator=rng()).float()
    weight = (torch.randn(40, 600, generator=rng()) * 20 * 1024).round() / 1024
    order = torch.randperm(600, generator=rng())
    one, two = weight @ values.T, weight[:, order] @ values[:, order].T
    assert not torch.equal(one, two)
    lsb = 3e5 / 127
    assert float((one - two).abs().max()) / lsb < 2**-12 / 4


@pytest.mark.parametrize("device", [DeviceSpec(), DeviceSpec(g_min=1e-6, g_max=40e-6)])
def test_a_perfect_pair_holds_every_code_exactly(device: DeviceSpec) -> None:
    codes = torch.arange(-63, 64).view(1, -1)
    weight = pair.weight(pair.g_target(codes, device, 63), device, 63)
    assert torch.equal(weight, codes.float())


def test_both_devices_of_a_pair_count() -> None:
    device = DeviceSpec(g_max=63e-6)
    g = torch.tensor([[[30e-6]], [[12e-6]]])
    assert float(pair.weight(g, device, 63)) == pytest.approx(18, abs=1e-3)


def test_read_noise_of_a_weight_is_that_of_two_devices() -> None:
    device = preset("pcm").device
    one = device.read_noise * 63
    assert pair.read_noise(device, 63) == pytest.approx(one * 2**0.5)
