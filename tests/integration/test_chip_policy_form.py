"""The form of a chip's policy, which says and refuses what the API does."""

import re
from collections.abc import Mapping
from html import unescape
from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.integration.chip_page_lab import OWN, page_of
from tests.integration.upkeep_lab import Fleet
from tests.world import World


@pytest.fixture
def fleet(world: World) -> Fleet:
    return Fleet(world)


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
