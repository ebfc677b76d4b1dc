"""The fleet page of many chips: the worst first, all in the strip, found by name and health."""

import re
from datetime import UTC, datetime

from fastapi.testclient import TestClient
from sqlalchemy import insert

from service.db.tables import Chip
from service.states import ChipHealth
from tests.world import World


def with_chips(world: World, count: int) -> None:
    """Good chips, and one bad one that was registered last."""
    made = datetime(2026, 1, 1, tzinfo=UTC)
    chips = [
        {
            "id": f"{number:036d}",
            "name": f"chip-{number:05d}",
            "backend": "simulated",
            "settings": {"preset": "pcm"},
            "info": {},
            "health": ChipHealth.BAD if number == count - 1 else ChipHealth.GOOD,
            "created_at": made,
        }
        for number in range(count)
    ]
    with world.context.database.writing() as session:
        session.execute(insert(Chip), chips)


def shown(world: World, address: str) -> list[str]:
    """Names in the table of chips, from top to bottom."""
    return re.findall(r'<tr id="chip-\d+"><td><a [^>]+>(chip-\d+)', world.client.get(address).text)


def test_the_worst_chip_comes_first_whatever_its_age(world: World) -> None:
    with_chips(world, 250)
    first = shown(world, "/")
    assert (first[0], len(first)) == ("chip-00249", 100)
    assert shown(world, "/?sort=age")[0] == "chip-00000"  # the control
    page = world.client.get("/").text
    assert "250 chips: 249 good, 1 bad." in page
    assert "1 bad, 249 good" in re.findall(r'class="strip".*?aria-label="([^"]+)"', page)[0]


def test_pages_of_the_table_hold_every_chip_once(world: World) -> None:
    with_chips(world, 250)
    seen, address = list[str](), "/"
    while address:
        seen += shown(world, address)
        more = re.findall(r'<a href="([^"]+)">More chips', world.client.get(address).text)
        address = more[0] if more else ""
    assert len(seen) == len(set(seen)) == 250


def test_chips_are_found_by_name_and_health_in_the_address(world: World) -> None:
    with_chips(world, 30)
    assert shown(world, "/?q=00012") == ["chip-00012"]
    assert shown(world, "/?health=bad&q=chip") == ["chip-00029"]
    nothing = world.client.get("/?q=other").text
    assert ("No chip is like this" in nothing, "Show all 30" in nothing) == (True, True)
    live = re.findall(r'data-live="([^"]+)"', world.client.get("/?health=bad").text)
    assert shown(world, live[0].replace("&amp;", "&")) == ["chip-00029"]


def test_an_order_that_is_not_known_is_refused(world: World) -> None:
    assert world.client.get("/?sort=beauty").status_code == 422
    assert world.client.get("/?page=0").status_code == 422


def test_the_cells_of_the_strip_have_the_names_of_the_table_in_its_order(world: World) -> None:
    with_chips(world, 130)
    address = re.findall(r'data-strip="([^"]+)"', world.client.get("/").text)[0]
    cells = world.client.get(address).json()
    assert cells[0] == ["chip-00129", "bad"]
    assert [name for name, _ in cells][:100] == shown(world, "/")
    assert len(cells) == 130
    filtered = re.findall(r'data-strip="([^"]+)"', world.client.get("/?q=00012").text)[0]
    assert world.client.get(filtered).json() == [["chip-00012", "good"]]


def test_the_strip_is_one_stop_of_the_tab_key_and_its_names_need_a_session(world: World) -> None:
    with_chips(world, 130)
    strip = world.client.get("/").text.partition("data-strip")[2].partition("</div>")[0]
    assert strip.count('tabindex="0"') == 1
    assert "<a " not in strip
    stranger = TestClient(world.client.app)
    assert stranger.get("/fragments/strip").status_code == 401
