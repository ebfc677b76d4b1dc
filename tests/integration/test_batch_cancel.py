"""Cancelling of all jobs of a chip, a status or a kind with one request."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from uuid_utils import uuid7

from tests.world import World

pytestmark = pytest.mark.both_databases


def cancel(world: World, key: str | None = None, **body: Any) -> Any:
    headers = {"Idempotency-Key": key or str(uuid7())}
    return world.client.post("/v1/jobs/cancel", json=body, headers=headers)


def statuses(world: World) -> dict[str, str]:
    items = world.client.get("/v1/jobs", params={"limit": 200}).json()["items"]
    return {job["id"]: job["status"] for job in items}


class Bench:
    """Two chips: on the first a job runs and two wait, on the second one waits."""

    def __init__(self, world: World) -> None:
        student = world.trained_student()
        self.one, self.other = (world.register_chip(name)["id"] for name in ("one", "other"))
        self.running = world.calibrate(self.one, student)["id"]
        world.drive(self.running)
        self.waiting = [world.calibrate(self.one, student)["id"]]
        request = {"kind": "evaluate", "chip_id": self.one, "student_id": student}
        self.evaluation = world.submit(request)["id"]
        self.elsewhere = world.calibrate(self.other, student)["id"]


def test_all_open_jobs_of_a_chip_are_cancelled_and_no_others(world: World) -> None:
    bench = Bench(world)
    answer = cancel(world, chip_id="one")
    assert answer.status_code == 202
    ids = [bench.running, *bench.waiting, bench.evaluation]
    assert answer.json() == {"cancelled": 3, "job_ids": ids, "more": False}
    found = statuses(world)
    assert [found[id] for id in ids] == ["cancelling", "cancelled", "cancelled"]
    assert found[bench.elsewhere] == "queued"


def test_a_status_and_a_kind_narrow_it_down(world: World) -> None:
    bench = Bench(world)
    answer = cancel(world, status=["queued", "waiting_for_chip"], kind="calibrate").json()
    assert answer["job_ids"] == [*bench.waiting, bench.elsewhere]
    assert statuses(world)[bench.running] == "running"
    assert statuses(world)[bench.evaluation] == "queued"


def test_one_request_is_bounded_and_says_that_there_are_more(world: World) -> None:
    bench = Bench(world)
    first = cancel(world, chip_id=bench.one, limit=2).json()
    assert (first["job_ids"], first["more"]) == ([bench.running, *bench.waiting], True)
    second = cancel(world, chip_id=bench.one, limit=2).json()
    assert (second["job_ids"], second["more"]) == ([bench.evaluation], False)


def test_the_same_key_cancels_nothing_more_and_answers_the_same(world: World) -> None:
    bench = Bench(world)
    first = cancel(world, "once", chip_id=bench.one, limit=1).json()
    assert cancel(world, "once", chip_id=bench.one, limit=1).json() == first
    assert statuses(world)[bench.evaluation] == "queued"
    other = cancel(world, "once", chip_id=bench.other)
    assert (other.status_code, other.json()["type"]) == (422, "/problems/idempotency-mismatch")


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"limit": 3},
        {"status": []},
        {"status": ["succeeded"]},
        {"kind": "no such"},
        {"chip_id": "one", "limit": 501},
    ],
)
def test_a_request_that_names_nothing_that_can_be_cancelled_is_refused(
    world: World, body: dict[str, Any]
) -> None:
    bench = Bench(world)
    assert cancel(world, **body).status_code == 422
    assert statuses(world)[bench.elsewhere] == "queued"


def test_an_unknown_chip_and_a_missing_key_are_refused(world: World) -> None:
    assert cancel(world, chip_id="nobody").status_code == 404
    assert world.client.post("/v1/jobs/cancel", json={"kind": "tune"}).status_code == 422


def test_the_audit_trail_has_the_request_and_each_job(world: World) -> None:
    bench = Bench(world)
    cancel(world, chip_id=bench.one)
    events = world.client.get("/v1/audit", params={"limit": 20}).json()["items"]
    (whole,) = [event for event in events if event["action"] == "jobs.cancelled"]
    each = [event for event in events if event["action"] == "job.cancelled"]
    assert sorted(event["subject"] for event in each) == sorted(whole["data"]["job_ids"])
    assert {event["data"]["batch"] for event in each} == {whole["subject"]}


def test_history_is_read_by_time(world: World) -> None:
    bench = Bench(world)
    path = f"/v1/chips/{bench.one}/history"
    jobs = world.client.get(path, params={"sort": "created_at"}).json()["items"]
    times = [datetime.fromisoformat(job["created_at"]) for job in jobs]

    def ids(**between: datetime) -> list[str]:
        params = {name: time.isoformat() for name, time in between.items()}
        answer = world.client.get(path, params=params | {"sort": "created_at"})
        return [job["id"] for job in answer.json()["items"]]

    assert ids(since=times[1]) == [jobs[1]["id"], jobs[2]["id"]]
    assert ids(until=times[1]) == [jobs[0]["id"]]
    assert ids(since=times[1], until=times[1] + timedelta(microseconds=1)) == [jobs[1]["id"]]
    assert ids(since=times[2] + timedelta(hours=1)) == []
    assert world.client.get(path, params={"since": "2026-01-01T00:00:00"}).status_code == 422
