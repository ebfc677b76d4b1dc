"""Whether a chip is old enough for its last trims, and what becomes of the job if it is not."""

from types import SimpleNamespace
from typing import Any

import pytest

from ltl_core.settings import Budget, CalibrationSettings, StageName
from service.jobs.kinds.last_trims import TOO_YOUNG, last_trims_settings, wait_for_age
from service.states import JobStatus

DAY = 86_400.0


class Chip:
    """A chip of this age, in software or not."""

    def __init__(self, age: float, *, in_software: bool, in_force: bool = True) -> None:
        awaited = {"age_s": DAY, "since_s": 100.0, "is_in_force": in_force}
        description = SimpleNamespace(extra={"awaited_age": awaited})
        self.context = SimpleNamespace(description=description)
        self.is_in_software, self.backend = in_software, self
        self.time = 100.0 + age

    def now(self) -> float:
        return self.time

    def settle(self, seconds: float) -> None:
        self.time += seconds


def waited(chip: Any) -> Any:
    return wait_for_age(chip)


def test_a_chip_in_software_ages_at_once() -> None:
    chip = Chip(0.5 * DAY, in_software=True)
    assert waited(chip) is None
    assert chip.time == pytest.approx(100.0 + DAY, rel=0.011)


def test_any_other_chip_is_waited_for_again() -> None:
    chip = Chip(0.5 * DAY, in_software=False)
    ended = waited(chip)
    assert ended.status == JobStatus.SUCCEEDED
    assert ended.result[TOO_YOUNG] == pytest.approx(0.49 * DAY, rel=0.001)
    assert chip.time == 100.0 + 0.5 * DAY


@pytest.mark.parametrize("in_software", [True, False])
def test_a_chip_that_is_old_enough_begins(in_software: bool) -> None:
    chip = Chip(0.995 * DAY, in_software=in_software)
    assert waited(chip) is None
    assert chip.time == 100.0 + 0.995 * DAY


def test_another_version_is_left_alone() -> None:
    ended = waited(Chip(2 * DAY, in_software=True, in_force=False))
    assert ended.status == JobStatus.CANCELLED
    assert "another version" in ended.reason


def test_last_trims_are_short_and_write_no_cell() -> None:
    given = CalibrationSettings(budget=Budget(samples=2000, distinct=100), seed=7)
    found = last_trims_settings(given)
    assert found.stages == (StageName.TRIMS,)
    assert found.budget == Budget(samples=400, distinct=100)
    assert (found.target_points, found.seed) == (None, 7)
    fewer = last_trims_settings(given.model_copy(update={"budget": Budget(samples=40)}))
    assert fewer.budget.samples == 40
