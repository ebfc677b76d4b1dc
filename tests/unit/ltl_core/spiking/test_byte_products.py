"""Products in bytes are exact; only deltas are rounded."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from ltl_core.network.layers import Conv2d, Linear, Weighted
from ltl_core.network.stages import Branch
from ltl_core.spiking.byte_products import (
    ByteDeltas,
    add_outer_product,
    pack_bytes,
    quantise_deltas,
    sums_of_bytes,
    transpose,
)
from ltl_core.spiking.gradient import add_byte_gradient, add_weight_gradient
from ltl_core.spiking.unfolding import UnfoldedInput

SHAPES = pytest.mark.parametrize(
    ("kernel", "stride", "padding"), [(3, 1, 1), (3, 2, 1), (1, 2, 0), (2, 1, 0)]
)
WIDE = Linear(name="wide", in_features=4608, out_features=64)


def _convolution(kernel: int, stride: int, padding: int) -> Conv2d:
    return Conv2d(
        name="conv",
        in_channels=72,
        out_channels=20,
        kernel=(kernel, kernel),
        stride=(stride, stride),
        padding=(padding, padding),
    )


def _spikes(*shape: int) -> Tensor:
    """Return spikes: every row in the first sample, where sums are largest, else every third."""
    generator = torch.Generator().manual_seed(1)
    spikes = (torch.rand(shape, generator=generator) < 0.3).to(torch.uint8)
    spikes[0] = 1
    return spikes.contiguous(memory_format=torch.channels_last) if len(shape) == 4 else spikes


def _rows(layer: Weighted, spikes: Tensor) -> UnfoldedInput:
    shape = tuple(spikes.shape[1:])
    branch = Branch(layer=layer, pools=(), source="below", source_shape=shape, input_shape=shape)
    return UnfoldedInput(branch, spikes, len(spikes), layer.output_shape(shape))


def _deltas(rows: UnfoldedInput) -> Tensor:
    generator = torch.Generator().manual_seed(2)
    return torch.randn(rows.samples, *rows.output_shape, generator=generator)


@pytest.mark.parametrize("largest", [127, 1])
def test_sums_of_codes_are_exact(largest: int) -> None:
    generator = torch.Generator().manual_seed(0)
    codes = torch.randint(-largest, largest + 1, (64, 4608), generator=generator).to(torch.int8)
    codes[0], codes[1] = largest, -largest
    spikes = _spikes(300, 4608)
    found = sums_of_bytes(WIDE, spikes, pack_bytes(WIDE, codes))
    assert torch.equal(found, spikes.float() @ codes.float().T)


@SHAPES
def test_convolutions_of_codes_are_exact(kernel: int, stride: int, padding: int) -> None:
    layer, spikes = _convolution(kernel, stride, padding), _spikes(5, 72, 6, 7)
    signs = torch.where(torch.arange(20) % 2 == 0, 127, -127).view(-1, 1, 1, 1)
    codes = signs.expand(layer.weight_shape).to(torch.int8)
    found = sums_of_bytes(layer, spikes, pack_bytes(layer, codes))
    assert torch.equal(found, F.conv2d(spikes.float(), codes.float(), None, stride, padding))


def test_outer_products_are_exact_and_added() -> None:
    spikes = _spikes(2000, 40)
    levels = torch.where(torch.arange(24) % 2 == 0, 127, -127).repeat(2000, 1).to(torch.int8)
    total = torch.ones(40, 24)
    add_outer_product(total, transpose(WIDE, spikes, ()), ByteDeltas(levels, 0.25), 0.5)
    assert torch.equal(total, 1 + 0.125 * spikes.float().T @ levels.float())


@SHAPES
def test_the_gradient_is_that_of_the_rounded_deltas(kernel: int, stride: int, padding: int) -> None:
    layer = _convolution(kernel, stride, padding)
    rows = _rows(layer, _spikes(5, 72, 6, 7))
    deltas = _deltas(rows)
    step = float(deltas.abs().max()) / 127
    found, wanted, exact = (
        torch.zeros(72 * kernel**2, 20, dtype=torch.float32).T for _ in range(3)
    )
    add_byte_gradient(found, rows, deltas, 0.5)
    add_weight_gradient(wanted, rows, (deltas / step).round() * step, 0.5)
    add_weight_gradient(exact, rows, deltas, 0.5)
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-4)
    assert float((found - exact).abs().max()) > 1e-3


def test_deltas_are_rounded_to_the_nearest_of_255_levels() -> None:
    deltas = torch.randn(50, 8, generator=torch.Generator().manual_seed(3))
    rounded = quantise_deltas(deltas)
    assert rounded is not None
    assert int(rounded.values.abs().max()) == 127
    error = (rounded.step * rounded.values - deltas).abs().max()
    assert rounded.step / 4 < float(error) <= rounded.step / 2 * (1 + 1e-5)


def test_deltas_that_are_all_zero_change_nothing() -> None:
    rows = _rows(_convolution(3, 1, 1), _spikes(2, 72, 6, 7))
    total = torch.ones(72 * 9, 20).T
    add_byte_gradient(total, rows, torch.zeros(2, 20, 6, 7), 1.0)
    assert torch.equal(total, torch.ones(20, 72 * 9))
