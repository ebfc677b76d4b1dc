"""Registers of the converters' ranges: each row of tiles has its own, and zero is nominal."""

import pytest
import torch
from torch import Tensor

from chip_sim.chip import make_chip
from chip_sim.errors import ForeignStateError
from chip_sim.spec import (
    ChipSpec,
    ConverterSpec,
    RegisterSpec,
)
from ltl_core.chip import Observable, Stimulus
from tests.unit.chip_sim.tuned_chip import (
    COLUMNS,
    QUIET,
    ROWS,
    TILE,
    UNLIKE,
    answers,
    placed,
    ranges,
    some,
    written,
    zeros,
)


def test_a_range_code_scales_the_full_scale() -> None:
    """Half the range has half the LSB, and clips what is beyond it."""
    spec = UNLIKE.model_copy(update={"converter": ConverterSpec(adc_bits=8)})
    chip = placed(spec)
    chip.program("hidden", torch.full((COLUMNS, ROWS), 9))
    ones = Stimulus(torch.ones(1, ROWS), 1)  # 144 in each full row of tiles, 72 in the last
    assert not chip.clipped(ones)["hidden"].any()
    chip.tune("hidden", zeros()._replace(adc_range=ranges(-4, -4, -4)))
    assert chip.clipped(ones)["hidden"].tolist() == [1.0, 1.0, 0.0]
    layer = chip.run(ones, {"hidden": Observable.MEMBRANE}).layers["hidden"]
    assert layer.membrane is not None
    lsb = 120 / 127
    expected = torch.full((COLUMNS,), (127 + 127 + round(72 / lsb)) * lsb)
    torch.testing.assert_close(layer.membrane[0, 0], expected)


def sums_with(codes: Tensor, weight: Tensor, spikes: Tensor) -> Tensor:
    """Column sums of ideal converters of 8 bits with these ranges."""
    chip = placed(UNLIKE.model_copy(update={"converter": ConverterSpec(adc_bits=8)}))
    chip.program("hidden", weight)
    chip.tune("hidden", zeros()._replace(adc_range=codes))
    stimulus = Stimulus(spikes[None], 1, "hidden")
    layer = chip.run(stimulus, {"hidden": Observable.MEMBRANE}).layers["hidden"]
    assert layer.membrane is not None
    return layer.membrane[0]


def test_each_row_of_tiles_is_converted_in_its_own_range() -> None:
    rng = torch.Generator().manual_seed(3)
    weight = torch.randint(-20, 22, (COLUMNS, ROWS), generator=rng)
    spikes = (torch.rand(50, ROWS, generator=rng) < 0.5).float()
    lsb = [240 / 127 * 2 ** (code / 4) for code in (-9, 3, -11)]

    def summed(steps: list[float]) -> Tensor:
        total = torch.zeros(50, COLUMNS, dtype=torch.float64)
        for row, step in enumerate(steps):
            rows = slice(row * TILE, (row + 1) * TILE)
            sums = spikes[:, rows].double() @ weight[:, rows].T.double()
            total += (sums / step).round().clamp(-127, 127) * step
        return total

    found = sums_with(ranges(-9, 3, -11), weight, spikes).double()
    torch.testing.assert_close(found, summed(lsb), rtol=1e-6, atol=1e-5)
    assert not torch.allclose(found, summed(lsb[::-1]), rtol=1e-6, atol=1e-5)


def test_equal_ranges_give_whole_codes_of_one_step() -> None:
    """To the bit: codes are added as integers before they meet their step."""
    rng = torch.Generator().manual_seed(3)
    weight = torch.randint(-20, 22, (COLUMNS, ROWS), generator=rng)
    spikes = (torch.rand(50, ROWS, generator=rng) < 0.5).float()
    step = 240 * 2 ** (-3 / 4) / 127
    found = sums_with(ranges(-3, -3, -3), weight, spikes)
    assert torch.equal(found, (found / step).round() * step)
    unequal = sums_with(ranges(-3, -3, -4), weight, spikes)
    assert not torch.equal(unequal, (unequal / step).round() * step)


def test_threads_do_not_change_sums_in_several_ranges() -> None:
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = tuned_answers()
        torch.set_num_threads(2)
        assert torch.equal(one, tuned_answers())
    finally:
        torch.set_num_threads(threads)


def tuned_answers() -> Tensor:
    chip = written()
    chip.tune("hidden", some())
    return answers(chip, samples=3000)  # enough for two threads to share them


def test_a_state_with_one_range_for_the_layer_gives_it_to_all_rows_of_tiles() -> None:
    chip = written()
    chip.tune("hidden", zeros()._replace(adc_range=ranges(-2, -2, -2)))
    state = chip.state()
    other = make_chip("c", UNLIKE, 4)
    other.restore(state | {"layer/hidden/adc_range": torch.tensor(-2)})
    assert other.tuning("hidden").adc_range.tolist() == [-2, -2, -2]
    assert torch.equal(answers(other), answers(chip))


@pytest.mark.parametrize(
    ("bits", "lsb", "goes_on"), [(4, 0.25, True), (4, 0.5, False), (6, 0.25, False)]
)
def test_a_state_goes_on_if_the_register_of_ranges_became_wider(
    bits: int, lsb: float, goes_on: bool
) -> None:
    register = RegisterSpec(bits=bits, lsb=lsb)
    tuning = QUIET.model_copy(update={"adc_range": register})
    state = written(UNLIKE.model_copy(update={"tuning": tuning})).state()
    other = make_chip("c", UNLIKE, 4)
    if goes_on:
        other.restore(state)
        assert torch.equal(answers(other), answers(written()))
    else:
        with pytest.raises(ForeignStateError):
            other.restore(state)


def test_the_full_scale_reaches_a_fifth_of_nominal() -> None:
    register = ChipSpec().tuning.adc_range.codes
    assert 2 ** (register.code_min * register.lsb) < 0.2
    assert 2 ** (-8 * register.lsb) > 0.2  # the register had 4 bits once
