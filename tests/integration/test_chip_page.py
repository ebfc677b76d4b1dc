"""The chip page: what it shows of a chip, its actions with their costs, and its policy."""

import re
from collections.abc import Mapping
from datetime import timedelta
from html import unescape
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select, text, update

from service.api.context import utc_now
from service.db.agent_tables import Agent
from service.db.repositories.chips import ChipRepository
from service.db.tables import Chip, Job, WeightVersion
from service.db.upkeep_tables import Fingerprint
from service.states import ChipHealth, JobStatus
from tests.integration.upkeep_lab import ANSWER, Fleet
from tests.world import World

OWN = {"Sec-Fetch-Site": "same-origin"}
HTML = {"Accept": "text/html"}
LIMIT = 200_000  # bytes
MAP = {
    "shows": "error",
    "chip_time_s": 3.0,
    "layers": {"hidden": 1.25, "readout": 0.5},
    "pulses": {"most": 7, "mean": 2.5},
    "tile": {
        "layer": "hidden",
        "first_column": 0,
        "columns": 2,
        "first_row": 16,
        "rows": 3,
        "bin_columns": 1,
        "bin_rows": 1,
        "bins": [[0, 100, 250], [50, 0, 1000]],
    },
}


@pytest.fixture
def fleet(world: World) -> Fleet:
    return Fleet(world)


@pytest.fixture
def browser(world: World) -> TestClient:
    """A browser that is signed in with the first key, and follows no redirects."""
    return signed_in(world, world.key)


def signed_in(world: World, key: str) -> TestClient:
    browser = TestClient(world.client.app, follow_redirects=False, headers=HTML)
    assert browser.post("/login", data={"key": key}, headers=OWN).status_code == 303
    return browser


def key_of(world: World, *scopes: str) -> str:
    made = world.client.post("/v1/keys", json={"name": "guest", "scopes": list(scopes)})
    return str(made.json()["key"])


def probed(fleet: Fleet, chip: str, score: float, **answer: Any) -> None:
    """The chip was probed, and this was found."""
    fleet.world.submit({"kind": "probe", "chip_id": chip})
    layers = [{"layer": "readout", "score": score}]
    found = {"score": score, "version": 1, "layers": layers, "loss_curve": None}
    fleet.finish(chip, JobStatus.SUCCEEDED, fingerprint=ANSWER | answer, **found)


def calibrated(fleet: Fleet, name: str = "bench <1>") -> str:
    """A chip with a version in force, a calibration that was not better, and a probe."""
    chip = fleet.chip(name)
    fleet.world.calibrate(chip, fleet.student)
    fleet.finish(
        chip,
        JobStatus.SUCCEEDED,
        accuracy={"golden": 0.9, "before": 0.81, "after": 0.81},
        rate_error={"before": [0.2, 0.1], "after": [0.05, 0.125]},
        layers=[
            {"layer": "hidden", "rate_error_before": 0.2},
            {"layer": "middle", "rate_error_before": 0.1},
            {"layer": "readout", "rate_error_before": None},
        ],
        published=False,
    )
    probed(fleet, chip, 0.75, weight_map=MAP)
    return chip


def page_of(world: World, chip: str) -> str:
    answer = world.client.get(f"/chips/{chip}", headers=HTML)
    assert answer.status_code == 200
    return unescape(answer.text)


def damage(world: World, table: str, column: str, value: str, where: str, key: str) -> None:
    with world.context.database.writing() as session:
        statement = f"UPDATE {table} SET {column} = :value WHERE {where} = :key"
        session.execute(text(statement), {"value": value, "key": key})


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


def fields(page: str) -> dict[str, str]:
    """What a browser would send of the form as it is shown."""
    form = page.split('<form class="fields"')[1].split("</form>")[0]
    found = dict(re.findall(r'<input[^>]* name="([^"]+)" value="([^"]*)"', form))
    found |= dict.fromkeys(re.findall(r'type="checkbox" name="([^"]+)" checked', form), "on")
    found["settings"] = re.findall(r"<textarea[^>]*>(.*?)</textarea>", form, re.DOTALL)[0]
    chosen = re.findall(r'<option value="([^"]*)" selected', form)
    found["student_id"] = chosen[0] if chosen else ""
    return {name: unescape(value) for name, value in found.items()}


def save(browser: TestClient, chip: str, form: Mapping[str, str]) -> Any:
    return browser.post(f"/chips/{chip}/policy", data=dict(form), headers=OWN)


def test_the_form_sets_the_same_policy_as_the_api(fleet: Fleet, browser: TestClient) -> None:
    chip = fleet.chip("bench")
    form = fields(browser.get(f"/chips/{chip}/policy").text)
    form |= {
        "probe_every": "6 h",
        "calibrate_at_score": "1.5",
        "calibrate_after_jobs": "20",
        "calibrate_before_expiry": "on",
        "quiet_hours": "22:00-06:00, 12:00-13:00",
        "pause": "90 min",
        "student_id": fleet.student,
        "settings": '{"budget": {"samples": 100}}',
    }
    assert save(browser, chip, form).headers["location"] == f"/chips/{chip}#policy"
    policy = fleet.policy(chip)
    assert (policy["probe_every_s"], policy["pause_s"]) == (6 * 3600.0, 5400.0)
    assert (policy["calibrate_at_score"], policy["calibrate_after_jobs"]) == (1.5, 20)
    assert policy["calibrate_before_expiry"] is True
    assert policy["calibrate_every_s"] is None
    assert policy["quiet_hours"][1] == {"begin": "12:00", "end": "13:00"}
    assert (policy["student_id"], policy["settings"]["budget"]["samples"]) == (fleet.student, 100)
    page = page_of(fleet.world, chip)
    assert "Probes every 6 h." in page
    assert "Begins nothing from 22:00 to 06:00 UTC." in page
    events = fleet.world.client.get("/v1/audit", params={"subject": chip}).json()["items"]
    assert "policy.set" in {event["action"] for event in events}


def test_a_form_that_is_saved_as_it_is_changes_no_rule(fleet: Fleet, browser: TestClient) -> None:
    rules = {
        "enabled": False,
        "probe_every_s": 100.5,
        "calibrate_every_s": 90_000.0,
        "calibrate_at_score": 0.123456789,
        "fixed_times": ["03:00"],
        "settings": {"stages": ["trims"], "seed": 7},
        "priority": 3,
    }
    chip = fleet.chip("bench", **rules)
    before = fleet.policy(chip)
    assert save(browser, chip, fields(browser.get(f"/chips/{chip}/policy").text)).status_code == 303
    after = fleet.policy(chip)
    changing = {"updated_at"}
    assert {n: after[n] for n in after if n not in changing} == {
        n: before[n] for n in before if n not in changing
    }
    assert after["updated_at"] > before["updated_at"]  # the control: it was saved


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("probe_every", "6", "write a number and a unit"),
        ("probe_every", "0 s", "greater than or equal to 1"),
        ("calibrate_at_score", "-1", "greater than 0"),
        ("quiet_hours", "25:00-06:00", "should match pattern"),
        ("quiet_hours", "00:00-12:00, 12:00-00:00", "leave no time of day"),
        ("settings", "{", "this is no JSON"),
        ("settings", '{"rule": "bptt"}', "calibrated with ltl-online"),
        ("student_id", "nobody", "There is no student"),
    ],
)
def test_what_the_api_refuses_the_form_refuses_too(
    fleet: Fleet, browser: TestClient, field: str, value: str, message: str
) -> None:
    chip = fleet.chip("bench", probe_every_s=60)
    before = fleet.policy(chip)
    form = fields(browser.get(f"/chips/{chip}/policy").text) | {field: value}
    answer = save(browser, chip, form)
    assert answer.status_code in (404, 422)
    assert message in unescape(answer.text)
    if field != "student_id":
        assert value in unescape(answer.text)  # what was typed is not lost
    assert fleet.policy(chip) == before


@pytest.mark.both_databases
def test_of_two_who_edit_a_policy_the_second_is_told(fleet: Fleet, browser: TestClient) -> None:
    chip = fleet.chip("bench", probe_every_s=60)
    mine = fields(browser.get(f"/chips/{chip}/policy").text)
    yours = dict(mine)
    assert save(browser, chip, mine | {"probe_every": "2 h"}).status_code == 303
    refused = save(browser, chip, yours | {"probe_every": "3 h"})
    assert refused.status_code == 412
    assert fleet.policy(chip)["probe_every_s"] == 7200.0
    page = unescape(refused.text)
    assert "Probes every 2 h." in page
    assert fields(refused.text)["probe_every"] == "3 h"
    assert save(browser, chip, fields(refused.text)).status_code == 303  # on purpose
    assert fleet.policy(chip)["probe_every_s"] == 3 * 3600.0


def test_a_policy_that_somebody_has_made_meanwhile_is_not_overwritten(
    fleet: Fleet, browser: TestClient
) -> None:
    chip = fleet.chip("bench")
    empty = fields(browser.get(f"/chips/{chip}/policy").text)
    fleet.rule(chip, probe_every_s=60)
    assert save(browser, chip, empty).status_code == 412
    assert fleet.policy(chip)["probe_every_s"] == 60.0


def test_a_policy_is_deleted_as_it_was_shown(fleet: Fleet, browser: TestClient) -> None:
    chip = fleet.chip("bench", probe_every_s=60)
    tag = fields(browser.get(f"/chips/{chip}/policy").text)["tag"]
    fleet.rule(chip, probe_every_s=61)
    path = f"/chips/{chip}/policy/delete"
    assert browser.post(path, data={"tag": tag}, headers=OWN).status_code == 412
    assert fleet.policy(chip)["probe_every_s"] == 61.0
    tag = fields(browser.get(f"/chips/{chip}/policy").text)["tag"]
    assert browser.post(path, data={"tag": tag}, headers=OWN).status_code == 303
    assert fleet.world.client.get(f"/v1/chips/{chip}/policy").status_code == 404
