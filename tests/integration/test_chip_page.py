"""The chip page: what it shows of a chip."""

import re
from datetime import timedelta
from html import unescape

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select, update

from service.api.context import utc_now
from service.db.agent_tables import Agent
from service.db.tables import Chip, Job, WeightVersion
from service.db.upkeep_tables import Fingerprint
from tests.integration.chip_page_lab import HTML, calibrated, damage, page_of, probed
from tests.integration.upkeep_lab import Fleet
from tests.world import World

LIMIT = 200_000  # bytes


@pytest.fixture
def fleet(world: World) -> Fleet:
    return Fleet(world)


@pytest.mark.both_databases
def test_the_page_shows_the_past_of_a_chip_with_every_version(fleet: Fleet) -> None:
    page = page_of(fleet.world, calibrated(fleet))
    assert page.count('<line class="version"') == 2 * 1 + 1  # two plots, and the key
    assert "version 1, published" in page
    assert "50.0\u202f% before, 90.0\u202f% after" in page
    assert "81.0\u202f% measured after a calibration that published nothing" in page
    assert "drift score 0.75 of version 1" in page
    wide = page.split('class="on-wide"')[1].split("</svg>")[0]
    heights = [float(y) for y in re.findall(r'class="after" cx="[\d.]+" cy="([\d.]+)"', wide)]
    assert len(heights) == 2
    assert heights[0] < heights[1]  # 90 % is above 81 %


def test_the_page_shows_layers_weights_and_wear(fleet: Fleet) -> None:
    page = page_of(fleet.world, calibrated(fleet))
    assert "middle: 0.1000 before, 0.1250 after" in page
    plot = page.split('class="layers"')[1].split("</svg>")[0]
    assert plot.count('class="span lost"') == 1  # the middle layer alone became worse
    assert ": hidden, columns 0 to 1, rows 16 to 18. A square is a cell." in page
    tile = page.split('class="tile"')[1].split("</svg>")[0]
    drawn = re.findall(r'level level-(\d)"[^>]* d="([^"]*)"', tile)
    squares = {
        int(level): sum(int(w) for w in re.findall(r"h(\d+)", d)) // 16 for level, d in drawn
    }
    assert squares == {0: 3, 1: 1, 2: 1, 4: 1}  # of levels of a code each: 0, 0, 0.5; 1; 2.5; 10
    assert "7 pulses; 2.50 on average" in page


def test_a_chip_is_found_by_its_name_and_by_its_id(fleet: Fleet) -> None:
    chip = calibrated(fleet, "bench-1")
    assert page_of(fleet.world, "bench-1") == page_of(fleet.world, chip)
    assert 'href="/chips/' + chip in page_of(fleet.world, "../")  # the fleet links it
    other = fleet.world.register_chip("a/b?c")["id"]
    assert f'<a href="/chips/{other}">a/b?c</a>' in page_of(fleet.world, "../")


def test_an_unknown_chip_has_a_page_that_says_so(browser: TestClient) -> None:
    for path in ("/chips/nowhere", "/chips/nowhere/calibrate", "/chips/nowhere/policy"):
        answer = browser.get(path)
        assert (answer.status_code, "There is no chip 'nowhere'" in unescape(answer.text)) == (
            404,
            True,
        )


def test_the_live_part_equals_the_part_in_the_page(fleet: Fleet) -> None:
    chip = calibrated(fleet)
    part = fleet.world.client.get(f"/fragments/chips/{chip}")
    assert part.text.strip() in fleet.world.client.get(f"/chips/{chip}").text
    again = {"If-None-Match": part.headers["etag"]}
    assert fleet.world.client.get(f"/fragments/chips/{chip}", headers=again).status_code == 304
    probed(fleet, chip, 0.9)
    assert fleet.world.client.get(f"/fragments/chips/{chip}", headers=again).status_code == 200


def test_a_chip_that_was_never_calibrated_says_what_to_do(world: World) -> None:
    page = page_of(world, world.register_chip("new")["id"])
    assert "new has no calibrated weights." in page
    assert page.count("tandemcal chips calibrate new") >= 3
    assert "<polyline" not in page
    assert "/probe" not in page  # it needs weights in force


def test_without_a_student_there_is_nothing_to_calibrate_to(world: World) -> None:
    chip = world.register_chip("new")["id"]
    page = page_of(world, f"{chip}/calibrate")
    assert "There is no student yet." in page
    assert '<button type="submit">Calibrate' not in page
    world.trained_student()
    assert '<button type="submit">Calibrate new' in page_of(world, f"{chip}/calibrate")


def test_a_chip_that_is_offline_says_since_when(world: World) -> None:
    chip = world.register_chip("silent")["id"]
    heard = utc_now() - timedelta(days=1)
    with world.context.database.writing() as session:
        session.execute(update(Chip).where(Chip.id == chip).values(backend="http"))
        agent = Agent(id="a", chip_id=chip, url="http://10.0.0.9:1", secret="s" * 32)
        agent.version, agent.limits, agent.registered_at = "1", {}, heard
        agent.heartbeat_at = agent.alive_until = heard
        session.add(agent)
    page = page_of(world, chip)
    assert '<span class="health offline">offline</span>' in page  # never as it was last
    assert (
        f"silent is offline: its agent at http://10.0.0.9:1 was last heard of at {heard:%Y}" in page
    )
    assert "tandemcal agent" in page


def test_a_retired_chip_keeps_its_past_and_has_no_buttons(fleet: Fleet) -> None:
    chip = calibrated(fleet)
    assert "/calibrate" in page_of(fleet.world, chip)  # the control
    fleet.world.client.delete(f"/v1/chips/{chip}")
    page = page_of(fleet.world, chip)
    assert "bench <1> is retired." in page
    assert "drift score 0.75" in page
    assert not re.findall(r'class="button', page)
    assert fleet.world.client.get(f"/chips/{chip}/calibrate", headers=HTML).status_code == 409


def test_a_damaged_chip_has_a_page_with_its_jobs(fleet: Fleet) -> None:
    chip = calibrated(fleet)
    damage(fleet.world, "chips", "created_at", "never", "id", chip)
    page = page_of(fleet.world, chip)
    assert "The row of bench <1> cannot be read." in page
    assert page.count('class="status succeeded"') == 3
    for path in ("calibrate", "policy"):
        answer = fleet.world.client.get(f"/chips/{chip}/{path}", headers=HTML)
        assert (answer.status_code, "damaged" in answer.text) == (500, True)


@pytest.mark.parametrize(
    ("table", "column", "where", "value", "part"),
    [
        ("weight_versions", "fingerprint", "chip_id", '{"rates": 5}', "version in force"),
        ("jobs", "result", "chip_id", '{"rate_error": {}}', "layers"),
        ("chips", "info", "id", '"of another kind"', "wear"),
    ],
)
def test_a_damaged_part_hides_no_other_one(
    fleet: Fleet, table: str, column: str, where: str, value: str, part: str
) -> None:
    chip = calibrated(fleet)
    assert "Not shown" not in page_of(fleet.world, chip)
    damage(fleet.world, table, column, value, where, chip)
    page = page_of(fleet.world, chip)
    missing = page.split("because it cannot be read: ")[1].split(". The log")[0]
    assert part in missing
    assert "A square is a cell." in page


def test_the_page_of_a_long_history_is_small(fleet: Fleet) -> None:
    chip = calibrated(fleet)
    with fleet.world.context.database.writing() as session:
        rows = [
            session.scalars(select(Job).where(Job.kind == "probe")).one(),
            session.scalars(select(WeightVersion)).one(),
            session.scalars(select(Fingerprint)).one(),
        ]
        for number in range(300):
            id, later = f"{number:036d}", utc_now() + timedelta(hours=number)
            loss = {"points": 3.0, "low": 1.0, "high": 6.0}
            own = {"version": number + 2, "job_id": id, "predicted_loss": loss}
            for row in rows:
                columns = {at.key: getattr(row, at.key) for at in row.__mapper__.column_attrs}
                given = {name: value for name, value in own.items() if name in columns}
                session.add(type(row)(**columns | given | {"id": id, "created_at": later}))
                session.flush()
    answer = fleet.world.client.get(f"/chips/{chip}")
    assert answer.text.count('class="hit"') > 300
    assert len(answer.content) < LIMIT
