"""One bad row hides no other: metrics, pages and lists show the rest, and say what is bad."""

from typing import Any

import pytest
from sqlalchemy import update
from sqlalchemy.orm import Session
from structlog.testing import capture_logs

from service.db.base import Base
from service.db.isolation import ReadableRows
from service.db.repositories.chips import ChipFilter, ChipRepository
from service.db.repositories.paging import PageRequest
from service.db.repositories.policies import UNREADABLE
from service.db.tables import Chip, Job
from service.db.upkeep_tables import Policy
from tests.hostile.poisoned_fleet import PoisonedFleet
from tests.integration.test_metrics import named, scrape
from tests.world import World


@pytest.fixture
def policies(world: World) -> PoisonedFleet:
    return PoisonedFleet(world, Policy)


@pytest.fixture
def chips(world: World) -> PoisonedFleet:
    return PoisonedFleet(world, Chip)


def all_or_nothing(session: Session, query: Any, _: object) -> ReadableRows[Any]:
    """In place of reading row by row."""
    return ReadableRows(list(session.execute(query).all()), [])


@pytest.mark.both_databases
def test_metrics_of_the_other_chips_go_on_and_bad_rows_are_counted(chips: PoisonedFleet) -> None:
    world = chips.world
    measured = {"accuracy": 0.75, "drift_score": 0.5}
    with world.context.database.writing() as session:
        session.execute(
            update(Chip)
            .where(Chip.id.in_(chips.good))
            .values(measured)
            .execution_options(synchronize_session=False)
        )
    with capture_logs() as logs:
        found, again = scrape(world), scrape(world)
    assert found[named("tandemcal_database_up")] == 1
    for name in ("first", "last"):
        assert found[named("tandemcal_chip_accuracy", chip=name)] == 0.75
        assert found[named("tandemcal_chip_drift_score", chip=name)] == 0.5
    bad = found[named("tandemcal_unreadable_rows", table="chips")]
    assert bad == again[named("tandemcal_unreadable_rows", table="chips")] > 3
    assert len([line for line in logs if line.get("table") == "chips"]) == bad  # once each


def test_policies_that_cannot_be_read_are_counted(policies: PoisonedFleet) -> None:
    policies.plan_for_all()
    noted = sum(note == UNREADABLE for note in policies.notes().values())
    assert scrape(policies.world)[named("tandemcal_unreadable_rows", table="policies")] == noted


@pytest.mark.parametrize("table", [Chip, Job])
def test_the_fleet_page_shows_good_and_bad(world: World, table: type[Base]) -> None:
    fleet = PoisonedFleet(world, table)
    page = world.client.get("/")
    assert page.status_code == 200
    for chip in fleet.good:
        assert f'id="chip-{chip}"' in page.text
    bad = "its row cannot be read" if table is Chip else "the row of this job holds"
    assert bad in page.text


def test_lists_leave_out_what_cannot_be_read(chips: PoisonedFleet) -> None:
    with chips.world.context.database.reading() as session, capture_logs() as logs:
        shown = ChipRepository(session).list(ChipFilter(), PageRequest(200))
    assert set(chips.good) <= {chip.id for chip in shown.rows}
    assert chips.poison("info", "'{'") in logs[0]["ids"]


def test_a_page_of_a_list_with_bad_rows_leads_to_the_next(chips: PoisonedFleet) -> None:
    seen, cursor = list[str](), None
    with chips.world.context.database.reading() as session, capture_logs():
        while True:
            page = ChipRepository(session).list(ChipFilter(), PageRequest(7, cursor))
            seen += [*page.unreadable, *(chip.id for chip in page.rows)]
            if (cursor := page.next_cursor) is None:
                break
    assert len(seen) == len(set(seen)) == len(chips.poisons) + 3


def test_without_reading_row_by_row_one_row_hides_all(
    chips: PoisonedFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.db.repositories.metrics.readable_rows", all_or_nothing)
    for of in ("paging", "chips", "overview"):
        monkeypatch.setattr(f"service.db.repositories.{of}.readable_rows", all_or_nothing)
    with capture_logs():
        assert named("tandemcal_chips", health="unknown") not in scrape(chips.world)
        with pytest.raises((ValueError, TypeError)):
            chips.world.client.get("/")
