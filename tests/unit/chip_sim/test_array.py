"""The multiply against its definition, and its noise against brute force."""

import pytest
import torch
import torch.nn.functional as F

from chip_sim import pair
from chip_sim.array import multiply, multiply_noise
from chip_sim.presets import preset
from chip_sim.spec import ChipSpec, DeviceSpec
from chip_sim.tiling import tile_stage
from ltl_core.network import Conv2d, Linear, NetworkSpec, Stage

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


def test_row_blocks_are_parts_of_the_unfolded_product(stage: Stage) -> None:
    rng = torch.Generator().manual_seed(1)
    values = torch.randn(4, 3, 7, 5, generator=rng)
    weight = torch.randn(6, 18, generator=rng)
    rows = F.unfold(values, (3, 2), stride=(2, 1), padding=(1, 0))
    blocks = tile_stage(stage, SMALL, 0).row_blocks
    parts = list(multiply(values, weight, stage, blocks))
    assert len(parts) == len(blocks) == 3
    for part, block in zip(parts, blocks, strict=True):
        expected = torch.einsum("cr,brp->bcp", weight[:, block], rows[:, block])
        torch.testing.assert_close(part.flatten(2), expected, rtol=1e-5, atol=1e-5)


def test_read_noise_is_what_fresh_weights_would_give(stage: Stage) -> None:
    rng = torch.Generator().manual_seed(2)
    values, sigma = torch.rand(1, 3, 7, 5, generator=rng), 0.3
    blocks = tile_stage(stage, SMALL, 0).row_blocks
    fresh = sigma * torch.randn(20_000, 18, generator=rng)  # as many columns, all of weight zero
    for sd, part in zip(
        multiply_noise(values, stage, blocks, sigma),
        multiply(values, fresh, stage, blocks),
        strict=True,
    ):
        torch.testing.assert_close(part.std(1), sd[:, 0], rtol=0.03, atol=1e-6)
        assert not torch.allclose(part.std(1), sd[:, 0] * 1.05, rtol=0.03)


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
