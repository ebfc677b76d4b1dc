"""The actions of the chip page: what they cost, that they are confirmed, and who may press them."""

import re
from html import unescape

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import text

from service.db.repositories.chips import ChipRepository
from service.states import ChipHealth
from tests.integration.chip_page_lab import OWN, key_of, page_of, signed_in
from tests.integration.upkeep_lab import Fleet
from tests.world import World


@pytest.fixture
def fleet(world: World) -> Fleet:
    return Fleet(world)


def test_an_action_says_what_it_costs(fleet: Fleet, browser: TestClient) -> None:
    chip = fleet.chip("bench")
    with fleet.world.context.database.writing() as session:
        spent = (
            '{"samples": 400, "samples_measured": 900, "cell_writes_per_cell": 0.3, "pulses": 70}'
        )
        session.execute(text("UPDATE jobs SET spent = :spent"), {"spent": spent})
    page = unescape(browser.get(f"/chips/{chip}/calibrate").text)
    rows = [
        re.sub(r"<[^>]+>", "|", row)
        for row in page.split("<tbody>")[1].split("</tr>")
        if "<td" in row
    ]
    assert 'value="2000"' in page
    assert [row.rstrip("|").rpartition("|")[2] for row in rows][:4] == ["400", "900", "0.30", "70"]
    assert "no limit" in page
    assert "On this chip: the last job" in page


@pytest.mark.both_databases
def test_a_confirmed_action_makes_one_job_and_one_audit_event(
    fleet: Fleet, browser: TestClient
) -> None:
    world, chip = fleet.world, fleet.chip("bench")
    page = browser.get(f"/chips/{chip}/calibrate").text
    once = re.findall(r'name="once" value="([^"]+)"', page)[0]
    form = {
        "once": once,
        "student_id": fleet.student,
        "samples": "320",
        "pulses": "",
        "seconds": "9",
    }
    answers = [
        browser.post(f"/chips/{chip}/calibrate", data=form, headers=OWN) for _ in range(2)
    ]  # a button that is pressed twice
    assert {answer.status_code for answer in answers} == {303}
    job_id = answers[0].headers["location"].removeprefix("/jobs/")
    job = world.client.get(f"/v1/jobs/{job_id}").json()
    assert (job["kind"], job["chip_id"], job["status"]) == ("calibrate", chip, "queued")
    budget = job["settings"]["budget"]
    assert (budget["samples"], budget["pulses"], budget["seconds"]) == (320, None, 9.0)
    events = world.client.get("/v1/audit", params={"subject": job_id}).json()["items"]
    assert [event["action"] for event in events] == ["job.submitted"]
    assert answers[1].headers["location"] == answers[0].headers["location"]


@pytest.mark.parametrize("action", ["tune", "probe"])
def test_other_actions_queue_a_job_of_their_kind(
    fleet: Fleet, browser: TestClient, action: str
) -> None:
    chip = fleet.chip("bench")
    assert browser.get(f"/chips/{chip}/{action}").status_code == 200
    answer = browser.post(f"/chips/{chip}/{action}", data={"once": "1"}, headers=OWN)
    assert answer.headers["location"].startswith("/jobs/")
    assert fleet.planned() == [(action, chip)]


def test_retiring_is_confirmed_first(fleet: Fleet, browser: TestClient) -> None:
    chip = fleet.chip("bench")
    page = browser.get(f"/chips/{chip}/retire")
    assert "This cannot be undone." in page.text
    with fleet.world.context.database.reading() as session:
        assert ChipRepository(session).get(chip).retired_at is None  # to look changes nothing
    answer = browser.post(f"/chips/{chip}/retire", headers=OWN)
    assert answer.headers["location"] == f"/chips/{chip}"
    shown = fleet.world.client.get(f"/v1/chips/{chip}").json()
    assert shown["health"] == ChipHealth.RETIRED


def test_a_wrong_budget_is_said_beside_the_form(fleet: Fleet, browser: TestClient) -> None:
    chip = fleet.chip("bench")
    form = {"student_id": fleet.student, "samples": "many"}
    answer = browser.post(f"/chips/{chip}/calibrate", data=form, headers=OWN)
    assert answer.status_code == 422
    assert "budget.samples: Input should be a valid integer" in unescape(answer.text)
    assert 'value="many"' in answer.text
    assert fleet.planned() == []


@pytest.mark.parametrize("path", ["calibrate", "retire", "policy", "policy/delete"])
def test_no_other_site_can_press_a_button(fleet: Fleet, browser: TestClient, path: str) -> None:
    chip = fleet.chip("bench", probe_every_s=60)
    before = fleet.world.stored()
    for headers in ({"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://other.example"}, {}):
        answer = browser.post(f"/chips/{chip}/{path}", data={}, headers=headers)
        assert answer.status_code == 403
    assert fleet.world.stored() == before


def test_a_key_that_reads_sees_no_buttons_and_presses_none(fleet: Fleet) -> None:
    chip = fleet.chip("bench")
    guest = signed_in(fleet.world, key_of(fleet.world, "read"))
    page = guest.get(f"/chips/{chip}")
    assert page.status_code == 200
    assert 'class="button' not in page.text
    assert 'class="button' in page_of(fleet.world, chip)  # the control
    before = fleet.world.stored()
    for path in ("calibrate", "retire", "policy"):
        assert guest.get(f"/chips/{chip}/{path}").status_code == 403
        assert guest.post(f"/chips/{chip}/{path}", headers=OWN).status_code == 403
    assert fleet.world.stored() == before


@pytest.mark.parametrize("path", ["", "/calibrate", "/policy"])
def test_without_a_session_the_pages_lead_to_the_login(world: World, path: str) -> None:
    chip = world.register_chip("bench")["id"]
    answer = TestClient(world.client.app, follow_redirects=False).get(f"/chips/{chip}{path}")
    assert answer.headers["location"] == f"/login?next=/chips/{chip}{path}"
