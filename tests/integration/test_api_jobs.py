"""Jobs over HTTP: accepted whole or not at all, once a key, and followed to their end."""

import threading
import time
from typing import Any

import pytest
from httpx2 import Response
from uuid_utils import uuid7

from service.api.context import utc_now
from service.db.repositories.events import EventRepository
from service.db.repositories.jobs import JobRepository
from service.states import JobStatus
from tests.conftest import World

pytestmark = pytest.mark.both_databases


def post(world: World, body: Any, key: str | None = None) -> Response:
    headers = {"Idempotency-Key": key or str(uuid7())}
    return world.client.post("/v1/jobs", json=body, headers=headers)


def calibration(world: World, **parts: Any) -> dict[str, Any]:
    return {
        "kind": "calibrate",
        "chip_id": world.register_chip()["id"],
        "student_id": world.trained_student(),
    } | parts


BAD_SETTINGS: dict[str, tuple[dict[str, Any], str]] = {
    "a negative sample budget": ({"budget": {"samples": -1}}, "/settings/budget/samples"),
    "a negative time budget": ({"budget": {"seconds": -0.5}}, "/settings/budget/seconds"),
    "a negative write budget": (
        {"budget": {"cell_writes_per_cell": -3}},
        "/settings/budget/cell_writes_per_cell",
    ),
    "an unknown rule": ({"rule": "magic"}, "/settings/rule"),
    "an unknown observable": ({"observable": "thoughts"}, "/settings/observable"),
    "an unknown field": ({"patience": 3}, "/settings/patience"),
}


@pytest.mark.parametrize(("bad", "pointer"), BAD_SETTINGS.values(), ids=BAD_SETTINGS.keys())
def test_bad_settings_are_refused(world: World, bad: dict[str, Any], pointer: str) -> None:
    body = calibration(world, settings=bad)
    before = world.stored()
    answer = post(world, body)
    assert answer.status_code == 422
    assert answer.json()["type"] == "/problems/invalid-request"
    assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]
    assert world.stored() == before


@pytest.mark.parametrize("missing", ["chip_id", "student_id"])
def test_an_unknown_part_is_refused(world: World, missing: str) -> None:
    body = calibration(world) | {missing: "nowhere"}
    before = world.stored()
    answer = post(world, body)
    assert answer.status_code == 404
    assert "nowhere" in answer.json()["detail"]
    assert world.stored() == before


def test_a_network_larger_than_the_chip_is_refused(world: World) -> None:
    body = calibration(world)
    small = world.register_chip("small", overrides={"tiles": 1})
    before = world.stored()
    answer = post(world, body | {"chip_id": small["id"]})
    assert answer.status_code == 422
    assert answer.json()["type"] == "/problems/capacity"
    assert (answer.json()["needed"], answer.json()["available"]) == (2, 1)
    assert world.stored() == before


def test_a_retired_chip_takes_no_jobs(world: World) -> None:
    body = calibration(world)
    world.client.delete(f"/v1/chips/{body['chip_id']}")
    before = world.stored()
    assert post(world, body).status_code == 409
    assert world.stored() == before


def test_training_waits_for_its_targets(world: World) -> None:
    target_set = world.announce_targets(world.upload_teacher()["id"])
    before = world.stored()
    answer = post(world, {"kind": "train", "target_set_id": target_set["id"]})
    assert answer.status_code == 409
    assert "uploading" in answer.json()["detail"]
    assert world.stored() == before


def test_a_preset_is_laid_under_what_was_set(world: World) -> None:
    body = {"kind": "train", "target_set_id": world.ready_targets()}
    settings = world.submit(body | {"preset": "ltl-offline-vgg11", "settings": {"epochs": 3}})
    assert settings["settings"]["epochs"] == 3
    assert settings["settings"]["learning_rate"] == 1e-4
    assert settings["settings"]["scales"] == "batch"
    before = world.stored()
    answer = post(world, body | {"preset": "vgg-99"})
    assert answer.status_code == 422
    assert "ltl-offline-vgg11" in answer.json()["errors"][0]["message"]
    assert world.stored() == before


def test_a_student_that_no_chip_can_stand_in_for_is_refused(world: World) -> None:
    chip = world.register_chip()["id"]
    reset = {"neuron": {"reset": "subtract", "decay": 1.0, "threshold": 1.0}}
    subtracting = world.trained_student(settings=reset)
    before = world.stored()
    for kind in ("calibrate", "evaluate"):
        answer = post(world, {"kind": kind, "chip_id": chip, "student_id": subtracting})
        assert answer.status_code == 422
        assert answer.json()["errors"][0]["pointer"] == "/student_id"
        assert "reset to zero" in answer.json()["errors"][0]["message"]
    assert world.stored() == before


def test_sequences_need_as_many_steps_as_frames_and_no_chip(world: World) -> None:
    targets = world.ready_targets(frames=8)
    body = {"kind": "train", "target_set_id": targets}
    answer = post(world, body)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "/settings/neuron/steps"
    neuron = {"neuron": {"steps": 8, "warmup": 5}}
    student = world.trained_student(targets, settings=neuron)
    chip = world.register_chip()["id"]
    answer = post(world, {"kind": "calibrate", "chip_id": chip, "student_id": student})
    assert answer.status_code == 422
    assert "sequences of frames" in answer.json()["errors"][0]["message"]


def test_a_job_is_accepted_with_its_defaults(world: World) -> None:
    body = calibration(world)
    answer = post(world, body)
    assert answer.status_code == 202
    job = answer.json()
    assert answer.headers["location"] == f"/v1/jobs/{job['id']}"
    assert (job["status"], job["terminal"]) == ("queued", False)
    assert job["settings"]["rule"] == "ltl-online"
    assert world.engine.queued[-1] == job["id"]
    chip = world.client.get(f"/v1/chips/{body['chip_id']}").json()
    assert chip["queue_depth"] == 1


def test_one_key_makes_one_job(world: World) -> None:
    body = calibration(world)
    first, second = post(world, body, "key 1"), post(world, body, "key 1")
    assert first.json()["id"] == second.json()["id"]
    assert (first.status_code, second.status_code) == (202, 200)
    assert world.engine.queued.count(first.json()["id"]) == 1


def test_one_key_with_another_body_is_refused(world: World) -> None:
    body = calibration(world)
    post(world, body, "key 1")
    before = world.stored()
    answer = post(world, body | {"priority": 1}, "key 1")
    assert answer.status_code == 422
    assert answer.json()["type"] == "/problems/idempotency-mismatch"
    assert world.stored() == before


def test_a_job_needs_an_idempotency_key(world: World) -> None:
    answer = world.client.post("/v1/jobs", json=calibration(world))
    assert answer.status_code == 422
    assert "Idempotency-Key" in answer.json()["detail"]
    assert world.stored()["jobs"] == 2  # those that made the student


def test_one_key_sent_ten_times_at_once_makes_one_job(world: World) -> None:
    body = calibration(world)
    answers: list[Response] = []
    threads = [
        threading.Thread(target=lambda: answers.append(post(world, body, "key 1")))
        for _ in range(10)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert world.engine.queued.count(answers[0].json()["id"]) == 1


def test_the_engine_failing_leaves_no_job(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    body = calibration(world)
    before = world.stored()

    def refuse(*_: object) -> None:
        raise OSError("the queue is full")

    monkeypatch.setattr(world.engine, "enqueue", refuse)
    with pytest.raises(OSError, match="queue is full"):
        post(world, body)
    assert world.stored() == before


def test_a_waiting_job_is_cancelled_at_once(world: World) -> None:
    job = post(world, calibration(world)).json()
    path = f"/v1/jobs/{job['id']}"
    for _ in range(2):  # cancelling it again changes nothing
        cancelled = world.client.post(f"{path}/cancel").json()
        assert (cancelled["status"], cancelled["terminal"]) == ("cancelled", True)
    assert job["id"] in world.engine.cancelled
    again = world.client.post(f"{path}/retry").json()
    assert again["settings"] == job["settings"]
    assert again["id"] == world.engine.queued[-1] != job["id"]


def test_a_running_job_is_asked_to_stop(world: World) -> None:
    job = post(world, calibration(world)).json()
    token = world.drive(job["id"])
    path = f"/v1/jobs/{job['id']}"
    assert world.client.post(f"{path}/cancel").json()["status"] == "cancelling"
    assert world.client.post(f"{path}/retry").status_code == 409
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


def test_waiting_in_vain_ends_in_time(world: World) -> None:
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
    told = ["job.queued", "job.started", *["job.progress"] * 3, "job.ended"]
    assert lines_of(text, "event") == told
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
            job["id"],
            "job.log",
            "1",
            {"message": "placed on 2 tiles"},
            now=utc_now(),
            job_id=job["id"],
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
        query = {"limit": 2, "kind": "calibrate"} | ({"cursor": cursor} if cursor else {})
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
    assert answer.content == b"a student's block"
    assert answer.headers["content-digest"].startswith("sha-256=:")
    listed = world.client.get("/v1/students").json()["items"]
    assert [one["id"] for one in listed] == [student]
