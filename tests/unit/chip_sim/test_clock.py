"""The clock of a simulated chip: time, temperature, and the age that drift follows."""

import math

import pytest
import torch

from chip_sim.clock import Clock, SpeedInterval, TemperatureInterval, arrhenius, log_age
from chip_sim.errors import ImpossibleTemperatureError, NegativeTimeError


def test_arrhenius_doubles_where_it_should() -> None:
    energy = 8.617333262e-5 * math.log(2) / (1 / 300 - 1 / 350)
    assert arrhenius(350, 300, energy) == pytest.approx(2)
    assert arrhenius(300, 300, energy) == 1
    assert arrhenius(350, 300, energy * 1.05) != pytest.approx(2, rel=0.02)


def test_warmth_moves_on_with_the_clock() -> None:
    clock = Clock()
    clock.warm(310)
    clock.advance(10)
    clock.warm(350)
    clock.warm(360)
    assert clock.intervals == (TemperatureInterval(0, 310), TemperatureInterval(10, 360))
    assert clock.kelvin == 360


@pytest.mark.parametrize("seconds", [-1.0, math.nan, math.inf])
def test_time_cannot_go_back(seconds: float) -> None:
    with pytest.raises(NegativeTimeError):
        Clock().advance(seconds)


@pytest.mark.parametrize("kelvin", [0.0, -3.0, math.nan])
def test_nothing_is_colder_than_zero(kelvin: float) -> None:
    with pytest.raises(ImpossibleTemperatureError):
        Clock().warm(kelvin)


def test_at_one_speed_it_is_the_plain_logarithm() -> None:
    elapsed = torch.tensor([0.0, 5.0, 1e4])
    plain = log_age(elapsed, 20.0)
    even = (SpeedInterval(1e5, 1.0), SpeedInterval(7.0, 1.0))
    torch.testing.assert_close(plain, torch.log1p(elapsed / 20))
    torch.testing.assert_close(log_age(elapsed, 20.0, even), plain)


def test_each_interval_of_speed_stretches_its_own_time() -> None:
    changes = ((1000.0, 1.0), (100.0, 3.0), (20.0, 0.5))  # s ago, speed since then
    speeds = tuple(SpeedInterval(*change) for change in changes)
    elapsed, t0, steps = 400.0, 20.0, 400_000
    middle = (torch.arange(steps, dtype=torch.float64) + 0.5) * elapsed / steps
    ago = elapsed - middle
    speed = torch.where(ago > 100, 1.0, torch.where(ago > 20, 3.0, 0.5))
    expected = float((speed / (middle + t0)).sum() * elapsed / steps)
    found = float(log_age(torch.tensor([elapsed]), t0, speeds))
    assert found == pytest.approx(expected, rel=1e-4)
    assert expected != pytest.approx(math.log1p(elapsed / t0), rel=0.1)
