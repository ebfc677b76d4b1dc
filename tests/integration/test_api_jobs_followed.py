"""Jobs over HTTP: stopped, followed to their end, and listed."""

import threading
import time
from typing import Any

import pytest

from service.api.context import utc_now
from service.db.repositories.events import EventRepository, Subject
from service.db.repositories.jobs import JobRepository
from service.states import JobStatus
from tests.integration.asked_jobs import calibration, post
from tests.world import STUDENT_BLOCK, World

pytestmark = pytest.mark.both_databases


def test_a_waiting_job_is_cancelled_at_once(world: World) -> None:
    job = post(world, calibration(world)).json()
    path = f"/v1/jobs/{job['id']}"
    for _ in range(2):  # cancelling it again changes nothing
        cancelled = world.client.post(f"{path}/cancel").json()
        assert (cancelled["status"], cancelled["terminal"]) == ("cancelled", True)
    assert job["id"] in world.engine.cancelled
    again = world.post_once(f"{path}/retry").json()
    assert again["settings"] == job["settings"]
    assert again["id"] == world.engine.queued[-1] != job["id"]


def test_a_running_job_is_asked_to_stop(world: World) -> None:
    job = post(world, calibration(world)).json()
    token = world.drive(job["id"])
    path = f"/v1/jobs/{job['id']}"
    assert world.client.post(f"{path}/cancel").json()["status"] == "cancelling"
    assert world.post_once(f"{path}/retry").status_code == 409
    with world.context.database.writing() as session:
        JobRepository(session).end(
            job["id"], token, JobStatus.SUCCEEDED, None, {"done": True}, utc_now()
        )
    late = world.client.post(f"{path}/cancel")
    assert late.status_code == 409
    assert world.client.get(path).json()["result"] == {"done": True}


def test_a_job_as_it_was_is_not_sent_again(world: World) -> None:
    job = post(world, calibration(world)).json()
    path = f"/v1/jobs/{job['id']}"
    first = world.client.get(path)
    same = world.client.get(path, headers={"If-None-Match": first.headers["etag"]})
    assert (same.status_code, same.content) == (304, b"")
    world.drive(job["id"])
    changed = world.client.get(path, headers={"If-None-Match": first.headers["etag"]})
    assert changed.json()["status"] == "running"


def test_waiting_ends_when_the_job_changes(world: World) -> None:
    job = post(world, calibration(world)).json()
    path = f"/v1/jobs/{job['id']}"
    etag = world.client.get(path).headers["etag"]
    begun = time.monotonic()
    timer = threading.Timer(0.3, world.drive, [job["id"]])
    timer.start()
    answer = world.client.get(path, params={"wait": 20}, headers={"If-None-Match": etag})
    timer.join()
    assert answer.json()["status"] == "running"
    assert 0.3 <= time.monotonic() - begun < 5


def test_a_wait_without_a_change_ends_after_its_limit(world: World) -> None:
    job = post(world, calibration(world)).json()
    path = f"/v1/jobs/{job['id']}"
    etag = world.client.get(path).headers["etag"]
    begun = time.monotonic()
    answer = world.client.get(path, params={"wait": 0.3}, headers={"If-None-Match": etag})
    assert answer.status_code == 304
    assert world.client.get(path, params={"wait": 0.3}).json()["terminal"] is False
    assert 0.6 <= time.monotonic() - begun < 5


def lines_of(text: str, field: str) -> list[str]:
    return [line[len(field) + 2 :] for line in text.splitlines() if line.startswith(f"{field}: ")]


def test_events_come_in_order_and_end_with_the_job(world: World) -> None:
    job = post(world, calibration(world)).json()
    token = world.drive(job["id"])

    def work() -> None:
        for step in range(3):
            with world.context.database.writing() as session:
                progress = {"phase": "calibrating", "step": step}
                JobRepository(session).write_progress(job["id"], token, progress, {}, utc_now())
            time.sleep(0.1)
        with world.context.database.writing() as session:
            JobRepository(session).end(job["id"], token, JobStatus.SUCCEEDED, None, None, utc_now())

    worker = threading.Timer(0.2, work)
    worker.start()
    text = world.client.get(f"/v1/jobs/{job['id']}/events").text
    worker.join()
    emitted = ["job.queued", "job.started", *["job.progress"] * 3, "job.ended"]
    assert lines_of(text, "event") == emitted
    numbers = lines_of(text, "id")
    rest = world.client.get(
        f"/v1/jobs/{job['id']}/events", headers={"Last-Event-ID": numbers[3]}
    ).text
    assert lines_of(rest, "id") == numbers[4:]
    over = world.client.get(f"/v1/jobs/{job['id']}/events", headers={"Last-Event-ID": numbers[-1]})
    assert over.status_code == 204


def test_the_log_is_plain_text(world: World) -> None:
    job = post(world, calibration(world)).json()
    with world.context.database.writing() as session:
        EventRepository(session).append(
            Subject(job["id"]), "job.log", "1", {"message": "placed on 2 tiles"}, utc_now()
        )
    answer = world.client.get(f"/v1/jobs/{job['id']}/log")
    assert answer.headers["content-type"].startswith("text/plain")
    assert answer.text.splitlines()[1].endswith("placed on 2 tiles")


def test_lists_come_in_pages_and_are_filtered(world: World) -> None:
    body = calibration(world)
    ids = [post(world, body).json()["id"] for _ in range(5)]
    world.client.post(f"/v1/jobs/{ids[0]}/cancel")
    seen, cursor = [], None
    while True:
        query: dict[str, Any] = {"limit": 2, "kind": "calibrate"} | (
            {"cursor": cursor} if cursor else {}
        )
        page = world.client.get("/v1/jobs", params=query).json()
        seen += [job["id"] for job in page["items"]]
        if (cursor := page["next_cursor"]) is None:
            break
    assert seen == ids[::-1]
    queued = world.client.get(
        "/v1/jobs", params={"status": "queued", "chip_id": body["chip_id"], "sort": "created_at"}
    ).json()
    assert [job["id"] for job in queued["items"]] == ids[1:]
    both = {"status": ["queued", "cancelled"], "kind": "calibrate"}
    assert len(world.client.get("/v1/jobs", params=both).json()["items"]) == 5
    history = world.client.get(f"/v1/chips/{body['chip_id']}/history").json()
    assert [job["id"] for job in history["items"]] == ids[::-1]


def test_a_student_can_be_downloaded(world: World) -> None:
    student = world.trained_student()
    answer = world.client.get(f"/v1/students/{student}/weights")
    assert answer.content == STUDENT_BLOCK
    assert answer.headers["content-digest"].startswith("sha-256=:")
    listed = world.client.get("/v1/students").json()["items"]
    assert [one["id"] for one in listed] == [student]
