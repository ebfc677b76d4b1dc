"""A chip in software ages while a job uses it, at the factor that was set."""

from collections.abc import Iterator

import pytest

from chip_sim.chip import make_chip
from chip_sim.presets import preset
from ltl_core.chip import ChipBackend
from service.bench.leased import LeasedBackend
from service.bench.wall_time import WallTime


def ticks(*seconds: float) -> Iterator[float]:
    yield from seconds


def test_its_clock_follows_wall_time_times_a_factor() -> None:
    chip, wall = make_chip("c", preset("ideal"), 1), ticks(100.0, 102.0, 103.5)
    clock = WallTime(chip, 60.0, lambda: next(wall))
    clock.follow()
    assert chip.now() == pytest.approx(120.0)
    clock.follow()
    assert chip.now() == pytest.approx(210.0)


def test_what_it_was_made_to_wait_counts_as_well() -> None:
    chip, wall = make_chip("c", preset("ideal"), 1), ticks(0.0, 2.0, 3.0)
    clock = WallTime(chip, 10.0, lambda: next(wall))
    chip.settle(15.0)
    clock.follow()
    assert chip.now() == pytest.approx(20.0)
    chip.settle(86_400.0)  # longer than the wall time: nothing to catch up with
    clock.follow()
    assert chip.now() == pytest.approx(86_420.0)


def test_at_factor_zero_only_its_own_work_takes_time() -> None:
    chip, wall = make_chip("c", preset("ideal"), 1), ticks(0.0, 9.0)
    WallTime(chip, 0.0, lambda: next(wall)).follow()
    assert chip.now() == 0.0


def test_a_chip_that_does_not_live_here_has_a_clock_of_its_own() -> None:
    chip, wall = make_chip("c", preset("ideal"), 1), ticks(0.0, 9.0)
    elsewhere: ChipBackend = LeasedBackend(chip, 1, lambda: True)
    WallTime(elsewhere, 60.0, lambda: next(wall)).follow()
    assert chip.now() == 0.0
