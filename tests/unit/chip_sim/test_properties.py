"""Claims that hold for every value, tested with random values."""

import math
from collections.abc import Callable
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load, save

from chip_sim import pair
from chip_sim.array import TileArray, read_columns
from chip_sim.chip import make_chip
from chip_sim.converter import AdcBank, converter_codes, level_max, transfer_of
from chip_sim.presets import NAMES, preset
from chip_sim.products import RowInput
from chip_sim.spec import ChipSpec, DeviceSpec
from chip_sim.tiling import tile_stage
from ltl_core.chip import LayerSettings, Observable, Placement, Stimulus
from ltl_core.network.layers import Conv2d, Linear
from ltl_core.network.spec import NetworkSpec
from ltl_core.network.stages import Stage

Pair = tuple[int, int]

seeds = st.integers(0, 2**31)
bits = st.integers(2, 16)
scales = st.floats(1e-3, 1e3)
quick = settings(max_examples=40, deadline=None)
slow = settings(max_examples=12, deadline=None)


def random(shape: tuple[int, ...], seed: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@quick
@given(seeds, bits, scales)
def test_a_quantiser_is_odd_monotonic_bounded_and_near(seed: int, b: int, scale: float) -> None:
    values, top = random((200,), seed).sort().values * scale, level_max(b)
    codes = converter_codes(values, scale, b)
    assert torch.equal(converter_codes(-values, scale, b), -codes)
    assert bool((codes.diff() >= 0).all())
    assert float(codes.abs().max()) <= top
    inside = values.abs() <= scale
    off = (codes * (scale / top) - values)[inside].abs()
    assert float(off.max()) <= scale / top * (0.5 + 1e-6 * top)


@quick
@given(seeds, bits, scales)
def test_a_quantiser_keeps_its_own_levels(seed: int, b: int, scale: float) -> None:
    codes = converter_codes(random((200,), seed) * scale, scale, b)
    assert torch.equal(converter_codes(codes * (scale / level_max(b)), scale, b), codes)


@quick
@given(st.integers(1, 10), st.just(0.0) | st.floats(1e-4, 0.9), st.floats(1e-7, 1e-3))
def test_a_pair_holds_every_code_and_wastes_no_current(b: int, low: float, g_max: float) -> None:
    device, top = DeviceSpec(g_min=low * g_max, g_max=g_max), (1 << b) - 1
    codes = torch.arange(-top, top + 1).view(1, -1)
    g = pair.g_target(codes, device, top)
    torch.testing.assert_close(pair.weight(g, device, top), codes.float(), rtol=0, atol=2**-9)
    assert float(g.min()) >= device.g_min * (1 - 1e-6)
    assert float(g.max()) <= device.g_max * (1 + 1e-6)
    assert torch.equal(g.amin(0), torch.full_like(g[0], device.g_min))
    assert torch.equal(pair.g_target(-codes, device, top), g.flip(0))


def linear_stage(rows: int, columns: int) -> Stage:
    layers = (Linear(name="only", in_features=rows, out_features=columns),)
    return NetworkSpec(input_shape=(rows,), layers=layers).stages[0]


def convolution_stage(channels: int, out: int, kernel: Pair, stride: Pair, padding: Pair) -> Stage:
    conv = Conv2d(
        name="conv",
        in_channels=channels,
        out_channels=out,
        kernel=kernel,
        stride=stride,
        padding=padding,
    )
    high, wide = conv.output_shape((channels, 6, 5))[1:]
    readout = Linear(name="readout", in_features=out * high * wide, out_features=2)
    return NetworkSpec(input_shape=(channels, 6, 5), layers=(conv, readout)).stages[0]


def pairs(low: int, high: int) -> st.SearchStrategy[Pair]:
    return st.tuples(st.integers(low, high), st.integers(low, high))


def stages() -> st.SearchStrategy[Callable[[], Stage]]:
    """What makes a stage: the run-time type checks draw random numbers, a strategy must not."""
    sizes = {"channels": st.integers(1, 5), "out": st.integers(1, 6)}
    window = {"kernel": pairs(1, 3), "stride": pairs(1, 2), "padding": pairs(0, 2)}
    return st.builds(
        partial, st.just(linear_stage), rows=st.integers(1, 70), columns=st.integers(1, 30)
    ) | st.builds(partial, st.just(convolution_stage), **sizes, **window)


@quick
@given(stages(), st.integers(1, 80), st.integers(1, 80), seeds)
def test_any_tile_size_gives_the_same_ideal_product(
    make_stage: Callable[[], Stage], rows: int, columns: int, seed: int
) -> None:
    stage = make_stage()
    rng = torch.Generator().manual_seed(seed)
    values = torch.randint(0, 2, (3, *stage.input_shape), generator=rng).float()
    weight = torch.randint(-63, 64, (stage.columns, stage.rows), generator=rng).float()

    def product(spec: ChipSpec) -> torch.Tensor:
        blocks = tile_stage(stage, spec, 0).row_blocks
        circuits = (len(blocks), stage.columns)
        perfect = AdcBank(torch.ones(circuits), *(torch.zeros(circuits),) * 2)
        transfer = transfer_of(perfect, [32767.0] * len(blocks), 16)
        array = TileArray(weight, blocks, transfer, 16, 0.0)
        return read_columns(array, RowInput(values, 1, False), stage, rng)

    whole = product(ChipSpec(tile_rows=10_000, tile_columns=10_000))
    assert torch.equal(product(ChipSpec(tile_rows=rows, tile_columns=columns)), whole)


@quick
@given(stages(), st.integers(1, 80), st.integers(1, 80))
def test_tiles_cover_a_matrix_once(
    make_stage: Callable[[], Stage], rows: int, columns: int
) -> None:
    stage = make_stage()
    tiling = tile_stage(stage, ChipSpec(tile_rows=rows, tile_columns=columns), 5)
    covered = torch.zeros(stage.columns, stage.rows)
    for region in tiling.regions:
        covered[region.columns, region.rows] += 1
    assert bool((covered == 1).all())
    count = math.ceil(stage.rows / rows) * math.ceil(stage.columns / columns)
    assert [region.tile for region in tiling.regions] == list(range(5, 5 + count))


@slow
@given(
    st.sampled_from(NAMES),
    seeds,
    st.floats(0, 1e5),
    st.floats(250, 400),
    st.lists(st.integers(-63, 63), min_size=12, max_size=12),
)
def test_a_chip_saved_anywhere_in_its_life_goes_on_the_same(
    name: str, seed: int, wait: float, kelvin: float, flat: list[int]
) -> None:
    layers = (
        Linear(name="hidden", in_features=4, out_features=3),
        Linear(name="readout", in_features=3, out_features=2),
    )
    registers = LayerSettings(threshold=60.0, decay=0.9, window=20.0, full_scale=200.0)
    network = NetworkSpec(input_shape=(4,), layers=layers)
    chip = make_chip("x", preset(name), seed)
    chip.place(Placement(network, dict.fromkeys(("hidden", "readout"), registers), 1.0))
    chip.advance(wait / 3)
    chip.warm(kelvin)
    chip.program("hidden", torch.tensor(flat).view(3, 4))
    chip.advance(wait)
    twin = make_chip("x", preset(name), seed)
    twin.restore(load(save(chip.state())))
    stimulus = Stimulus(random((5, 4), seed).clamp(-1, 1), 6)
    shown = [
        c.run(stimulus, {"readout": Observable.MEMBRANE}).layers["readout"].membrane
        for c in (chip, twin)
    ]
    assert shown[0] is not None
    assert shown[1] is not None
    assert torch.equal(shown[0], shown[1])
    assert chip.now() == twin.now()
    assert chip.temperature() == twin.temperature()


@given(st.floats(max_value=0, exclude_max=True))
@quick
def test_no_negative_time_passes(seconds: float) -> None:
    from chip_sim.errors import NegativeTimeError

    chip = make_chip("x", preset("pcm"), 1)
    with pytest.raises(NegativeTimeError):
        chip.advance(seconds)
    assert chip.now() == 0
