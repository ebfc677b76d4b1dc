"""Which chips the fleet page shows, in which order, and its picture of all of them."""

import re

import pytest

from service.db.repositories.overview import ChipFacts
from service.states import ChipHealth, ChipState
from service.web.fleet.survey import FleetSort, Wanted, chosen, strip

CHIPS = [
    ChipFacts("1", "bench-b", ChipHealth.GOOD, 0.1),
    ChipFacts("2", "bench-a", ChipHealth.DRIFTING, 0.5),
    ChipFacts("3", "rack-1", ChipHealth.DRIFTING, 0.9),
    ChipFacts("4", "rack-2", ChipHealth.BAD, None),
    ChipFacts("5", "rack-3", ChipState.OFFLINE, 0.0),
    ChipFacts("6", "Bench-c", ChipHealth.RETIRED, None),
]


@pytest.mark.parametrize(
    ("wanted", "ids"),
    [
        (Wanted(), "453216"),
        (Wanted(sort=FleetSort.AGE), "123456"),
        (Wanted(sort=FleetSort.NAME), "621345"),
        (Wanted(text="BENCH"), "216"),
        (Wanted(health=ChipHealth.DRIFTING), "32"),
        (Wanted(text="rack", health=ChipState.OFFLINE), "5"),
        (Wanted(text="none"), ""),
    ],
)
def test_chips_are_found_and_the_worst_come_first(wanted: Wanted, ids: str) -> None:
    assert "".join(chip.id for chip in chosen(CHIPS, wanted)) == ids


def cells(path: str) -> int:
    return sum(int(width) for width in re.findall(r"h(\d+)", path)) // 16


def test_every_chip_has_a_cell_of_its_health() -> None:
    drawn = strip(chosen(CHIPS, Wanted()))
    found = {health: cells(path) for health, path in drawn.lines}
    assert found == {"bad": 1, "offline": 1, "drifting": 2, "good": 1, "retired": 1}
    assert "6 chips" in drawn.sentence
    assert "2 drifting" in drawn.sentence


def test_the_strip_of_a_large_fleet_holds_all_chips_and_stays_small() -> None:
    many = [CHIPS[number % 4]._replace(id=str(number)) for number in range(10_000)]
    drawn = strip(chosen(many, Wanted()))
    assert sum(cells(path) for _, path in drawn.lines) == 10_000
    assert sum(len(path) for _, path in drawn.lines) < 4000
    mixed = strip(many)  # the control: where healths alternate, lines are short
    assert sum(len(path) for _, path in mixed.lines) > 80_000


def test_cells_of_a_line_follow_each_other_and_lines_stand_below_each_other() -> None:
    drawn = dict(strip([*CHIPS[:1] * 61, *CHIPS[1:2]]).lines)
    assert drawn["good"] == "M0 8h960M0 24h16"
    assert drawn["drifting"] == "M16 24h16"
