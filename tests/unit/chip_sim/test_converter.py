"""The converter codes, against a reference and against their definition."""

import json
from pathlib import Path

import pytest
import torch

from chip_sim.converter import AdcBank, column_levels, convert_columns, converter_codes, level_max

PAIRS = json.loads((Path(__file__).parents[2] / "data" / "aihwkit.json").read_text())[
    "quantiser_8_bit"
]["pairs"]


@pytest.mark.parametrize(("value", "answer"), [pair for pair in PAIRS if abs(pair[0]) <= 1])
def test_levels_agree_with_the_reference(value: float, answer: float) -> None:
    read = float(converter_codes(torch.tensor([value]), 1.0, 8)) / level_max(8)
    assert read == pytest.approx(answer, abs=1e-6)


@pytest.mark.parametrize("wrong", [0.95, 1.05])
def test_a_full_scale_five_percent_off_would_be_seen(wrong: float) -> None:
    values = torch.tensor([pair[0] for pair in PAIRS if abs(pair[0]) <= 1])
    assert not torch.equal(converter_codes(values, wrong, 8), converter_codes(values, 1.0, 8))


@pytest.mark.parametrize("bits", [2, 6, 8, 12])
def test_codes_stop_at_both_ends(bits: int) -> None:
    top = 2 ** (bits - 1) - 1
    assert converter_codes(torch.tensor([-9.0, 9.0]), 1.0, bits).tolist() == [-top, top]


def test_halves_go_to_the_even_code() -> None:
    halves = torch.tensor([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5])
    assert converter_codes(halves, 127.0, 8).tolist() == [-2, -2, 0, 0, 2, 2]


def test_gain_comes_before_the_offset_and_the_clamp_last() -> None:
    adc = AdcBank(torch.tensor([1.1, 1.0]), torch.tensor([2.0, -3.0]), torch.zeros(2))
    sums = torch.tensor([[[10.0], [10.0]], [[126.0], [-126.0]]])
    read = convert_columns(sums, adc, 127.0, 8)
    assert read.flatten().tolist() == [13.0, 7.0, 127.0, -127.0]


def test_a_bow_is_highest_between_middle_and_end() -> None:
    adc = AdcBank(torch.ones(1), torch.zeros(1), torch.tensor([4.0]))
    sums = torch.tensor([[-1.0, -(3**-0.5), 0.0, 3**-0.5, 1.0]]) * 127
    off = column_levels(sums, adc, 127.0, 8) - sums
    torch.testing.assert_close(off, torch.tensor([[0.0, -4.0, 0.0, 4.0, 0.0]]), atol=1e-4, rtol=0)
    assert float(off.max()) != pytest.approx(4.0 * 1.05, rel=0.01)
