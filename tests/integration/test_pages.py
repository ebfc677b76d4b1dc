"""Web pages: who sees them, what they show, and protection from other sites."""

import re

import pytest
from fastapi.testclient import TestClient

from service.api.context import utc_now
from service.db.repositories.jobs import JobRepository
from service.states import JobStatus
from tests.world import World

OWN = {"Sec-Fetch-Site": "same-origin"}
FOREIGN = {"Sec-Fetch-Site": "cross-site"}
LIMIT = 200_000  # bytes


@pytest.fixture
def browser(world: World) -> TestClient:
    """Open a browser without a key, which follows no redirects."""
    return TestClient(world.client.app, follow_redirects=False)


def sign_in(browser: TestClient, key: str) -> None:
    answer = browser.post("/login", data={"key": key, "next": "/"}, headers=OWN)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")


# The second one is as an earlier version stored it.
STAGES = [
    {
        "stage": "tune",
        "moved_cells": False,
        "points_before": 43.25,
        "points_after": 7.5,
        "cost": {"samples": 0, "samples_measured": 256, "cells": 0, "pulses": 0, "seconds": 9.25},
    },
    {"stage": "trims", "moved_cells": False, "points_before": 7.5, "spent": {"samples": 0}},
]


def calibrated(world: World, before: float = 0.5, after: float = 0.85) -> str:
    """Return the id of a calibration that has ended, with progress and a log."""
    chip = world.register_chip("bench <1>")
    job = world.calibrate(chip["id"], world.trained_student(), budget={"samples": 640})
    token = world.drive(job["id"])
    with world.context.database.writing() as session:
        jobs = JobRepository(session)
        for step in range(3):
            progress = {"phase": "calibrating", "step": step, "steps": 3}
            figures = {"accuracy": 0.5 + step / 10, "rate_error": [0.1, 0.2]}
            spent = {"samples": 64 * step}
            jobs.write_progress(job["id"], token, progress | figures, spent, utc_now())
        result = {
            "accuracy": {"golden": 0.88, "before": before, "after": after},
            "rate_error": {"before": [0.1, 0.2], "after": [0.01, 0.02]},
            "stages": STAGES,
            "ended_by": "budget:samples",
            "published": True,
            "weights_version": 1,
        }
        jobs.end(job["id"], token, JobStatus.SUCCEEDED, None, result, utc_now())
    return str(job["id"])


@pytest.mark.parametrize("path", ["/", "/jobs/1", "/?jobs=2"])
def test_a_page_redirects_to_the_login_and_back(browser: TestClient, path: str) -> None:
    answer = browser.get(path)
    assert answer.status_code == 303
    login = browser.get(answer.headers["location"])
    assert login.status_code == 200
    assert f'name="next" value="{path}"' in login.text


@pytest.mark.parametrize("path", ["/fragments/fleet", "/fragments/jobs/1"])
def test_live_parts_of_pages_need_a_session_too(browser: TestClient, path: str) -> None:
    assert browser.get(path).status_code == 401


def test_a_key_opens_the_pages_until_signing_out(world: World, browser: TestClient) -> None:
    sign_in(browser, world.key)
    assert browser.get("/").status_code == 200
    assert browser.post("/logout", headers=OWN).status_code == 303
    assert browser.get("/").status_code == 303


def test_a_wrong_key_opens_nothing(browser: TestClient) -> None:
    answer = browser.post("/login", data={"key": "tcal_wrong"}, headers=OWN)
    assert answer.status_code == 401
    assert "not a valid key" in answer.text
    assert browser.get("/").status_code == 303


@pytest.mark.parametrize(
    "target", ["https://other.example/", "//other.example", "/\\other.example"]
)
def test_signing_in_never_leads_to_another_site(
    world: World, browser: TestClient, target: str
) -> None:
    answer = browser.post("/login", data={"key": world.key, "next": target}, headers=OWN)
    assert answer.headers["location"] == "/"


@pytest.mark.parametrize("path", ["/login", "/logout", "/jobs/1/cancel"])
def test_no_other_site_can_press_a_button(world: World, browser: TestClient, path: str) -> None:
    sign_in(browser, world.key)
    assert browser.post(path, data={"key": world.key}, headers=FOREIGN).status_code == 403


def test_a_form_that_is_too_long_is_refused(browser: TestClient) -> None:
    assert browser.post("/login", data={"key": "x" * 10_000}, headers=OWN).status_code == 413


def test_an_empty_fleet_says_what_to_do_next(world: World) -> None:
    page = world.client.get("/").text
    assert "No chips yet" in page
    assert "client.chips.register" in page


def test_the_fleet_shows_chips_and_jobs_with_their_figures(world: World) -> None:
    job = calibrated(world)
    page = world.client.get("/").text
    assert "1 chip: 1 unknown." in page
    assert f'href="/jobs/{job}"' in page
    assert "before 50.0\u202f%, after 85.0\u202f% (+35.0 pt); golden student 88.0" in page


def test_marks_of_a_recovery_are_placed_by_their_figures(world: World) -> None:
    calibrated(world, before=0.0, after=1.0)
    page = world.client.get("/").text
    before = re.search(r'class="before" cx="([\d.]+)"', page.split('class="recovery"')[1])
    after = re.search(r'class="after" cx="([\d.]+)"', page.split('class="recovery"')[1])
    assert before is not None
    assert after is not None
    assert (float(before[1]), float(after[1])) == (8.0, 192.0)


def test_names_are_shown_as_text(world: World) -> None:
    calibrated(world)
    page = world.client.get("/").text
    assert "bench &lt;1&gt;" in page
    assert "bench <1>" not in page


def test_the_job_page_shows_phases_plots_and_result(world: World) -> None:
    page = world.client.get(f"/jobs/{calibrated(world)}").text
    assert "Calibration of bench &lt;1&gt;: 50.0" in page
    assert "published as version 1." in page
    assert page.count("<polyline") == 3  # accuracy, and the rate error of two layers
    assert "0.0100" in page
    assert "data-ended" in page


def test_the_job_page_shows_what_each_stage_brought_and_cost(world: World) -> None:
    page = world.client.get(f"/jobs/{calibrated(world)}").text
    table = page.split("<h2>Stages</h2>")[1].split("</table>")[0]
    rows = [re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", row) for row in table.split("<tr>")[2:]]
    assert rows[0] == ["tune", "43.2", "7.5", "0", "256", "0", "0", "9.2 s"]
    assert rows[1] == ["trims", "7.5", *["–"] * 6]


def test_the_page_of_an_unknown_job_says_so(world: World) -> None:
    answer = world.client.get("/jobs/0")
    assert answer.status_code == 404
    assert answer.headers["content-type"].startswith("text/html")


def test_a_running_job_can_be_cancelled_from_its_page(world: World, browser: TestClient) -> None:
    job = world.submit({"kind": "train", "target_set_id": world.ready_targets()})["id"]
    assert f'action="/jobs/{job}/cancel"' in world.client.get(f"/jobs/{job}").text
    sign_in(browser, world.key)
    assert browser.post(f"/jobs/{job}/cancel", headers=OWN).headers["location"] == f"/jobs/{job}"
    assert world.client.get(f"/v1/jobs/{job}").json()["status"] == "cancelled"
    assert world.engine.cancelled == [job]
    assert browser.post(f"/jobs/{job}/cancel", headers=OWN).status_code == 303


def test_a_part_that_did_not_change_is_not_sent_again(world: World) -> None:
    calibrated(world)
    first = world.client.get("/fragments/fleet")
    again = {"If-None-Match": first.headers["etag"]}
    assert world.client.get("/fragments/fleet", headers=again).status_code == 304
    world.register_chip("bench 2")
    assert world.client.get("/fragments/fleet", headers=again).status_code == 200


def test_the_live_part_equals_the_part_in_the_page(world: World) -> None:
    job = calibrated(world)
    for page, part in (("/", "/fragments/fleet"), (f"/jobs/{job}", f"/fragments/jobs/{job}")):
        assert world.client.get(part).text.strip() in world.client.get(page).text


def test_a_page_with_everything_it_needs_is_small(world: World) -> None:
    calibrated(world)
    parts = ["/", "/static/tandemcal.css", "/static/live.js", "/static/icon.svg"]
    assert sum(len(world.client.get(part).content) for part in parts) < LIMIT


def test_no_script_or_style_from_elsewhere_can_run(world: World) -> None:
    answer = world.client.get("/")
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "style=" not in answer.text
    assert "<script>" not in answer.text


@pytest.mark.parametrize("name", ["secret", "..%2fpages.py", "../pages.py"])
def test_only_the_known_files_are_served(world: World, name: str) -> None:
    assert world.client.get(f"/static/{name}").status_code == 404
