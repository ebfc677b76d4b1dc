"""The job page: what a job waits for, how far it is, and why it ended as it did."""

import re
from datetime import timedelta
from html import unescape
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import insert, update

from service.api.context import utc_now
from service.db.agent_tables import Agent
from service.db.repositories.events import EventRepository
from service.db.repositories.executors import ExecutorRepository
from service.db.repositories.job_history import JobHistoryRepository
from service.db.repositories.jobs import JobRepository
from service.db.tables import Chip, Job
from service.formatting import instant
from service.states import JobStatus, Scope
from tests.world import World

OWN = {"Sec-Fetch-Site": "same-origin"}
LEARNED = {"accuracy": 1.0, "rate_error": [0.1, 0.3], "rates": [[0.2, 0.25], [0.1, 0.1]]}
UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def told(world: World, job_id: str, token: int, *steps: dict[str, Any]) -> None:
    """Report progress, as a worker does."""
    with world.context.database.writing() as session:
        for step in steps:
            spent = {"samples": 64 * step["step"], "pulses": 10, "seconds": 1.5 * step["step"]}
            progress = {"steps": 10} | step
            JobRepository(session).write_progress(job_id, token, progress, spent, utc_now())


def ended(
    world: World, job_id: str, token: int, status: JobStatus, reason: str | None, result: Any
) -> None:
    with world.context.database.writing() as session:
        JobRepository(session).end(job_id, token, status, reason, result, utc_now())


def visible(page: str) -> str:
    """The text that a reader sees, without tags and their attributes."""
    return unescape(re.sub(r"<[^>]+>", " ", page.partition("<main")[2].partition(">")[2]))


def running(world: World, *steps: dict[str, Any]) -> tuple[str, int]:
    """Return the id of a calibration that runs, and its token."""
    chip = world.register_chip("bench 7")
    job = world.calibrate(chip["id"], world.trained_student(), budget={"samples": 640})
    token = world.drive(job["id"])
    told(world, job["id"], token, {"phase": "placing", "step": 0}, *steps)
    return job["id"], token


BEFORE = {"phase": "measuring before", "step": 0, "accuracy": 0.467}
TRIMS = {"phase": "calibrating", "stage": "trims", "step": 1, "settled_s": 60.0} | LEARNED
WEIGHTS = {"phase": "calibrating", "stage": "weights", "step": 2, "settled_s": 60.0} | LEARNED
LAST = {"phase": "calibrating", "stage": "last trims", "step": 3, "settled_s": 120.0} | LEARNED


def test_golden_and_before_are_there_from_the_first_step(world: World) -> None:
    job_id, _ = running(world, BEFORE)
    page = world.client.get(f"/jobs/{job_id}").text
    assert "golden 88.0\u202f%" in page
    assert "before 46.7\u202f%" in page
    assert "0 of 640" in page
    assert "after" not in page.split('class="plots"')[1].split("</figure>")[0]


def test_what_a_batch_shows_is_never_called_the_accuracy(world: World) -> None:
    job_id, _ = running(world, BEFORE, TRIMS)
    assert "batch 100.0\u202f%" in world.client.get(f"/jobs/{job_id}").text
    assert "On samples it learns from" in world.client.get(f"/jobs/{job_id}").text
    row = world.client.get("/").text.split(f'id="job-{job_id}"')[1].split("</tr>")[0]
    assert "100.0" not in row


def test_plots_mark_where_weights_start_and_where_the_chip_settles(world: World) -> None:
    job_id, _ = running(world, BEFORE, TRIMS, WEIGHTS, LAST)
    marks = re.findall(
        r'class="mark"[^>]*><title>([^<]*)', world.client.get(f"/jobs/{job_id}").text
    )
    once = ["trims", "weights", "last trims, settled 1 min 0 s"]
    assert marks == once * 5  # accuracy, and errors and rates of two layers


def test_all_layers_have_one_axis_and_the_rates_stand_against_their_target(world: World) -> None:
    job_id, _ = running(world, BEFORE, TRIMS, WEIGHTS)
    page = world.client.get(f"/jobs/{job_id}").text
    errors = page.split('id="plots-rate-error"')[1].split("</section>")[0].split("<figure")[1:]
    ticks = [re.findall(r'text-anchor="end">([\d.]+)</text>', figure) for figure in errors]
    assert ticks[0] == ticks[1]
    assert len(ticks[0]) > 2
    rates = page.split('id="plots-firing-rates-against-the-target"')[1].split("</section>")[0]
    assert '<td class="number">0.2000</td><td class="number">0.2500</td>' in rates


def test_spent_pulses_and_seconds_stand_against_their_budgets(world: World) -> None:
    chip = world.register_chip()
    budget = {"samples": 640, "pulses": 100, "seconds": 60, "cell_writes_per_cell": 2}
    job = world.calibrate(chip["id"], world.trained_student(), budget=budget)
    told(world, job["id"], world.drive(job["id"]), BEFORE, TRIMS)
    text = visible(world.client.get(f"/jobs/{job['id']}").text)
    for words in ("64 of 640", "10 of 100", "1.5 s of 1 min 0 s", "0 of 2"):
        assert words in text


def test_the_time_left_follows_the_pace(world: World) -> None:
    job_id, token = running(world, BEFORE)
    assert "Learning ends" not in world.client.get(f"/jobs/{job_id}").text
    told(world, job_id, token, TRIMS, WEIGHTS, LAST)
    assert "Learning ends" in world.client.get(f"/jobs/{job_id}").text


def test_a_waiting_job_says_why_and_where_it_stands(world: World) -> None:
    chip = world.register_chip("bench 7")
    student = world.trained_student()
    first = world.calibrate(chip["id"], student)
    waiting = [world.calibrate(chip["id"], student)["id"] for _ in range(2)]
    world.drive(first["id"])
    with world.context.database.writing() as session:
        ExecutorRepository(session).beat("worker", 2, utc_now())
    pages = [visible(world.client.get(f"/jobs/{job_id}").text) for job_id in waiting]
    assert all("its chip runs calibrate" in page for page in pages)
    places = [re.search(r"Place in the queue\s+(\d+)", page) for page in pages]
    assert [found and found[1] for found in places] == ["1", "2"]
    assert all("Expected start" in page for page in pages)
    assert f'href="/jobs/{first["id"]}"' in world.client.get(f"/jobs/{waiting[0]}").text


def test_a_job_that_was_put_off_says_until_when(world: World) -> None:
    job = world.submit(
        {
            "kind": "train",
            "target_set_id": world.ready_targets(),
            "not_before": "2099-01-01T00:00:00Z",
        }
    )
    assert "not before 2099-01-01 00:00:00 UTC" in world.client.get(f"/jobs/{job['id']}").text


def test_the_end_says_why_nothing_was_published(world: World) -> None:
    job_id, token = running(world, BEFORE, TRIMS)
    result = {
        "accuracy": {"golden": 0.88, "before": 0.467, "after": 0.467},
        "published": False,
        "stages": [],
        "ended_by": "target met",
    }
    ended(world, job_id, token, JobStatus.SUCCEEDED, None, result)
    text = visible(world.client.get(f"/jobs/{job_id}").text)
    assert "Not published: nothing was changed, because the chip met the target already." in text


def test_an_error_of_a_driver_is_called_the_drivers(world: World) -> None:
    job_id, token = running(world)
    line = "read, line 12 of /opt/lab/serial_chip.py"
    reason = f"OSError: the line is cut. Raised in the driver 'serial': {line}."
    ended(world, job_id, token, JobStatus.FAILED, reason, None)
    text = visible(world.client.get(f"/jobs/{job_id}").text)
    assert (
        "The driver 'serial' of the chip failed, not Tandemcal: OSError: the line is cut." in text
    )
    assert f"Last line of the driver: {line}" in re.sub(r"\s+", " ", text)


def test_an_error_of_ours_is_not_called_the_drivers(world: World) -> None:
    job_id, token = running(world)
    ended(world, job_id, token, JobStatus.FAILED, "An error inside Tandemcal ended the job", None)
    text = visible(world.client.get(f"/jobs/{job_id}").text)
    assert "Failed: An error inside Tandemcal ended the job." in text
    assert "driver" not in text


def test_names_are_shown_and_no_long_id(world: World) -> None:
    job_id, token = running(world, BEFORE)
    with world.context.database.reading() as session:
        chip_id = JobRepository(session).get(job_id).chip_id
    ended(world, job_id, token, JobStatus.FAILED, f"Chip {chip_id} is unavailable", None)
    text = visible(world.client.get(f"/jobs/{job_id}").text)
    assert "Chip bench 7 is unavailable" in text
    assert not UUID.search(text)


def test_an_ended_job_is_in_no_phase_any_more(world: World) -> None:
    job_id, token = running(world, BEFORE, TRIMS)
    assert "Now: calibrating" in visible(world.client.get(f"/jobs/{job_id}").text)
    ended(world, job_id, token, JobStatus.CANCELLED, None, None)
    assert "Now:" not in visible(world.client.get(f"/jobs/{job_id}").text)


def test_the_log_has_date_and_zone(world: World) -> None:
    job_id, _ = running(world)
    log = world.client.get(f"/jobs/{job_id}").text.split('class="log"')[1]
    assert re.search(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC</time> job started", log)


@pytest.fixture
def browser(world: World) -> TestClient:
    """Open a browser without a key, which follows no redirects."""
    return TestClient(world.client.app, follow_redirects=False, headers=OWN)


def sign_in(world: World, browser: TestClient, *scopes: Scope) -> None:
    made = world.client.post("/v1/keys", json={"name": "short", "scopes": list(scopes)})
    assert browser.post("/login", data={"key": made.json()["key"]}).status_code == 303


def test_the_button_of_an_ended_job_runs_it_again_once(world: World, browser: TestClient) -> None:
    job_id, token = running(world)
    sign_in(world, browser, Scope.READ, Scope.OPERATE)
    assert browser.post(f"/jobs/{job_id}/retry").status_code == 409  # it has not ended
    ended(world, job_id, token, JobStatus.FAILED, "cut", None)
    assert f'action="/jobs/{job_id}/retry"' in browser.get(f"/jobs/{job_id}").text
    first, second = (browser.post(f"/jobs/{job_id}/retry") for _ in range(2))
    assert first.status_code == second.status_code == 303
    assert first.headers["location"] == second.headers["location"] != f"/jobs/{job_id}"
    foreign = {"Sec-Fetch-Site": "cross-site"}
    assert browser.post(f"/jobs/{job_id}/retry", headers=foreign).status_code == 403


def test_a_key_that_only_reads_sees_no_buttons(world: World, browser: TestClient) -> None:
    job_id, token = running(world)
    sign_in(world, browser, Scope.READ)
    for button in ("cancel", "retry"):
        address = f"/jobs/{job_id}/{button}"
        assert address in world.client.get(f"/jobs/{job_id}").text
        assert address not in browser.get(f"/jobs/{job_id}").text
        assert browser.post(address).status_code == 403
        if button == "cancel":
            ended(world, job_id, token, JobStatus.FAILED, "cut", None)


def test_a_long_job_shows_its_last_step_and_not_all_of_them(world: World) -> None:
    job_id, token = running(world, BEFORE)
    steps = [TRIMS | {"step": step, "steps": 1000} for step in range(1, 201)]
    told(world, job_id, token, *steps)
    with world.context.database.reading() as session:
        all_of_them = EventRepository(session).after(0, job_id=job_id, limit=2000)
        found = JobHistoryRepository(session).progress(job_id, most=30)
    assert len(all_of_them) > 200
    assert len(found) <= 47
    assert found[1].data["progress"]["phase"] == "measuring before"
    assert found[-1].data["progress"]["step"] == 200


def test_a_job_for_which_something_lacked_says_what_and_when_it_is_tried_again(
    world: World,
) -> None:
    job_id, token = running(world)
    lack = "The disk of the service is full."
    later = utc_now() + timedelta(seconds=30)
    with world.context.database.writing() as session:
        JobRepository(session).put_back(job_id, token, lack, utc_now())
        session.execute(update(Job).where(Job.id == job_id).values(held_until=later))
    text = visible(world.client.get(f"/jobs/{job_id}").text)
    assert (
        f"It waits: The disk of the service is full; it is tried again at {instant(later)}" in text
    )


def test_a_job_for_an_offline_chip_says_since_when(world: World) -> None:
    chip = world.register_chip("far away")["id"]
    job = world.calibrate(chip, world.trained_student())
    silent = utc_now() - timedelta(minutes=5)
    agent = {"id": "a" * 36, "chip_id": chip, "url": "http://10.1.2.3:9000", "secret": "s"}
    agent |= {"version": "1", "limits": {}, "signed": False, "registered_at": silent}
    with world.context.database.writing() as session:
        session.execute(update(Chip).where(Chip.id == chip).values(backend="http"))
        session.execute(insert(Agent), [agent | {"heartbeat_at": silent, "alive_until": silent}])
    text = visible(world.client.get(f"/jobs/{job['id']}").text)
    assert "It waits: its chip is offline: its agent at http://10.1.2.3:9000 was last heard" in text
    assert f"at {silent:%Y-%m-%dT%H:%M:%SZ}" in text
    assert re.search(r"Place in the queue\s+1\s+Expected start\s+not known", text)
