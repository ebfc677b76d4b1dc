"""1/f noise as a process in time, against the covariance that it is documented with."""

import math
from itertools import pairwise

import pytest
import torch

from chip_sim.flicker_noise import FlickerNoise, correlation

DEVICES = 20_000
CHIPS = 12  # each with phases of its own
T0 = 20.0
AGE = 3.0e6  # s; five decades are at work


def read_twice(wait: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the noise of the same devices at two instants, on several chips."""
    looks: list[tuple[torch.Tensor, torch.Tensor]] = []
    for chip in range(CHIPS):
        flicker = FlickerNoise(chip, 0, (DEVICES,))
        first, second = (
            flicker.at(now, torch.full((DEVICES,), now), T0).double() for now in (AGE, AGE + wait)
        )
        looks.append((first, second))
    return torch.cat([one for one, _ in looks]), torch.cat([two for _, two in looks])


def covariance(early: float, late: float) -> float:
    """Return the documented covariance, sum_k a_k(t) a_k(t') rho."""
    total = 0.0
    for k in range(12):
        a, b = (min(max(math.log((t + T0) / (T0 * 10**k)), 0), math.log(10)) for t in (early, late))
        total += math.sqrt(a * b) * correlation((late - early) / (5 * T0 * 10**k))
    return total


@pytest.mark.parametrize("age", [1.0, 50.0, 3600.0, 86400.0, 3e7])
def test_variance_is_the_logarithm_of_age(age: float) -> None:
    x = FlickerNoise(1, 0, (200_000,)).at(age, torch.full((200_000,), age), T0).double()
    expected = math.log(1 + age / T0)
    assert float(x.var()) == pytest.approx(expected, rel=0.015)
    assert float(x.var()) != pytest.approx(expected * 1.05, rel=0.015)
    assert abs(float(x.mean())) < 5 * math.sqrt(expected / 200_000)


@pytest.mark.parametrize("wait", [10.0, 300.0, 4000.0, 50_000.0, 1e6])
def test_covariance_is_the_documented_one(wait: float) -> None:
    one, two = read_twice(wait)
    found, expected = float((one * two).mean()), covariance(AGE, AGE + wait)
    scatter = 0.05 * covariance(AGE, AGE)  # of the phases of a few chips, and of the devices
    assert found == pytest.approx(expected, abs=scatter)


def test_each_decade_of_waiting_adds_as_much() -> None:  # which is what 1/f means
    waits = [2e2, 2e3, 2e4, 2e5]
    moved = [float((two - one).square().mean()) for one, two in map(read_twice, waits)]
    steps = [late - early for early, late in pairwise(moved)]
    for step in steps:
        assert step == pytest.approx(2 * math.log(10), rel=0.25)


def test_a_random_walk_would_be_told_apart() -> (
    None
):  # its difference grows in proportion to waiting
    walk = [2e2, 2e3, 2e4, 2e5]
    steps = [late - early for early, late in pairwise(walk)]
    assert steps[1] / steps[0] != pytest.approx(1, rel=0.5)


def test_the_same_instant_gives_the_same_number() -> None:
    ages = torch.full((100,), 500.0)
    one, other = FlickerNoise(1, 0, (100,)), FlickerNoise(1, 0, (100,))
    first = one.at(1e6, ages, T0)
    for now in torch.linspace(1e6, 9e6, 40).tolist():
        one.at(now, ages + now, T0)
    assert torch.equal(one.at(1e6, ages, T0), first)
    assert torch.equal(other.at(1e6, ages, T0), first)


def test_flicker_noise_changes_without_jumps() -> None:
    flicker, ages = FlickerNoise(1, 0, (1000,)), torch.full((1000,), 1e5)
    looks = [flicker.at(1e5 + step, ages, T0) for step in torch.arange(0, 400, 0.5).tolist()]
    steps = torch.stack([(b - a).abs().max() for a, b in pairwise(looks)])
    assert 0 < float(steps.max()) < 0.2


def test_a_device_just_written_has_no_slow_noise() -> None:
    assert float(FlickerNoise(1, 0, (9,)).at(1e6, torch.zeros(9), T0).abs().max()) == 0


def test_correlation_begins_at_one_and_ends() -> None:
    assert correlation(0) == 1
    assert correlation(1) == pytest.approx(1 / math.pi)
    assert correlation(2) == correlation(7) == 0
    assert abs(correlation(1.999999)) < 1e-5
