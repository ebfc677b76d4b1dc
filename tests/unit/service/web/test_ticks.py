"""Ticks are round, enclose the values, and stay where they are while values change a little."""

import pytest

from service.web.plots.ticks import decimals, round_ticks


@pytest.mark.parametrize(
    ("values", "ticks"),
    [
        ([0.467, 0.98], (0.4, 0.6, 0.8, 1.0)),
        ([0.0123, 0.0871], (0.0, 0.025, 0.05, 0.075, 0.1)),
        ([0.0, 1.0], (0.0, 0.25, 0.5, 0.75, 1.0)),
        ([3.0, 97.0], (0.0, 25.0, 50.0, 75.0, 100.0)),
    ],
)
def test_ticks_are_round_and_enclose_the_values(
    values: list[float], ticks: tuple[float, ...]
) -> None:
    assert round_ticks(values, least=0.01) == pytest.approx(ticks)


def test_a_flat_curve_has_a_range_all_the_same() -> None:
    ticks = round_ticks([0.5, 0.5], least=0.02)
    assert ticks[0] <= 0.49
    assert ticks[-1] >= 0.51


def test_a_range_of_positive_values_does_not_fall_below_zero() -> None:
    assert round_ticks([0.001, 0.002], least=0.05)[0] == 0.0


@pytest.mark.parametrize("high", [0.011, 0.35, 0.7, 12.0, 1234.5])
@pytest.mark.parametrize("low", [0.0, 0.009])
def test_there_are_never_more_than_five(low: float, high: float) -> None:
    ticks = round_ticks([low, high], least=0.001)
    assert 2 <= len(ticks) <= 5
    assert ticks[0] <= low < high <= ticks[-1]


def test_a_small_change_of_the_values_moves_no_tick() -> None:
    assert round_ticks([0.12, 0.71], 0.01) == round_ticks([0.14, 0.74], 0.01)
    assert round_ticks([0.12, 0.71], 0.01) != round_ticks([0.12, 1.71], 0.01)


def test_decimals_tell_ticks_apart() -> None:
    assert decimals((0.0, 0.5, 1.0)) == 1
    assert decimals((0.0, 0.025, 0.05)) == 3
    assert decimals((0.0, 50.0)) == 0


def test_no_tick_stands_above_what_is_possible() -> None:
    assert round_ticks([0.978, 0.982], least=0.05, top=1.0)[-1] == 1.0
    assert round_ticks([0.978, 0.982], least=0.05)[-1] > 1.0  # the control
    assert round_ticks([0.4, 1.0], least=0.05, top=1.0)[-1] == 1.0
