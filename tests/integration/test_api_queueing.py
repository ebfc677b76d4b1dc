"""When a job starts: not before, by when, behind how many others, and whose jobs go first."""

import threading
from datetime import datetime, timedelta
from typing import Any

import pytest
from uuid_utils import uuid7

from service.api.context import utc_now
from service.db.repositories.deadlines import DeadlineRepository
from service.db.repositories.jobs import JobRepository
from service.db.tables import Job
from service.states import JobStatus
from tests.world import World

pytestmark = pytest.mark.both_databases
MINUTE = timedelta(minutes=1)


@pytest.fixture
def evaluation(world: World) -> dict[str, Any]:
    """Build a request that evaluates one chip."""
    return {
        "kind": "evaluate",
        "chip_id": world.register_chip()["id"],
        "student_id": world.trained_student(),
    }


def look(world: World, job: dict[str, Any]) -> Any:
    return world.client.get(f"/v1/jobs/{job['id']}").json()


def end(world: World, job: dict[str, Any], took: timedelta) -> None:
    """Set the times of a job as if it had run until now for this long."""
    with world.context.database.writing() as session:
        row = JobRepository(session).get(job["id"])
        row.status, row.ended_at = JobStatus.SUCCEEDED, utc_now()
        row.started_at = row.ended_at - took


def test_a_job_waits_behind_those_of_its_chip(world: World, evaluation: dict[str, Any]) -> None:
    first, second = world.submit(evaluation), world.submit(evaluation)
    urgent = world.submit(evaluation | {"priority": 1})
    other = world.submit(evaluation | {"chip_id": world.register_chip("bench 2")["id"]})
    places = [look(world, job)["queue_position"] for job in (urgent, first, second, other)]
    assert places == [1, 2, 3, 1]
    listed = world.client.get("/v1/jobs", params={"chip_id": evaluation["chip_id"]}).json()
    assert [job["queue_position"] for job in listed["items"]] == [1, 3, 2]


def test_the_start_is_expected_from_how_long_jobs_took(
    world: World, evaluation: dict[str, Any]
) -> None:
    ended, running, waits = (world.submit(evaluation) for _ in range(3))
    assert look(world, running)["expected_start"] is None  # nothing is known of this chip
    end(world, ended, took=10 * MINUTE)
    world.drive(running["id"])
    began = datetime.fromisoformat(look(world, running)["started_at"])
    expected = datetime.fromisoformat(look(world, waits)["expected_start"])
    assert abs(expected - began - 10 * MINUTE) < timedelta(seconds=1)
    assert look(world, running)["expected_start"] is None
    etags = {world.client.get(f"/v1/jobs/{waits['id']}").headers["etag"] for _ in range(2)}
    assert len(etags) == 1  # an estimate that stands still is no news


def test_a_job_is_not_expected_before_its_time(world: World, evaluation: dict[str, Any]) -> None:
    later = utc_now() + 60 * MINUTE
    job = world.submit(evaluation | {"not_before": later.isoformat()})
    shown = look(world, job)
    assert datetime.fromisoformat(shown["not_before"]) == later
    assert datetime.fromisoformat(shown["expected_start"]) == later


def test_times_that_cannot_be_kept_are_refused(world: World, evaluation: dict[str, Any]) -> None:
    now = utc_now()
    late, later = (now + MINUTE).isoformat(), (now + 2 * MINUTE).isoformat()
    for times in (
        {"queue_deadline": (now - MINUTE).isoformat()},
        {"queue_deadline": late, "not_before": later},
        {"queue_deadline": "2031-01-01T00:00:00"},  # without a zone
    ):
        headers = {"Idempotency-Key": str(uuid7())}
        answer = world.client.post("/v1/jobs", json=evaluation | times, headers=headers)
        assert answer.status_code == 422, answer.text


def test_a_retried_job_has_no_deadline_of_yesterday(
    world: World, evaluation: dict[str, Any]
) -> None:
    deadline = utc_now() + MINUTE
    job = world.submit(evaluation | {"queue_deadline": deadline.isoformat(), "priority": 2})
    with world.context.database.writing() as session:
        (expired,) = DeadlineRepository(session).expire(deadline + MINUTE)
    shown = look(world, job)
    assert (shown["status"], shown["terminal"], expired.id) == ("expired", True, job["id"])
    again = world.post_once(f"/v1/jobs/{job['id']}/retry").json()
    assert (again["queue_deadline"], again["priority"]) == (None, 2)


def test_a_job_knows_whose_key_it_was(world: World, evaluation: dict[str, Any]) -> None:
    body = {"name": "another", "scopes": ["operate", "read"]}
    key = world.client.post("/v1/keys", json=body).json()
    headers = {"Authorization": f"Bearer {key['key']}", "Idempotency-Key": str(uuid7())}
    job = world.client.post("/v1/jobs", json=evaluation, headers=headers).json()
    with world.context.database.reading() as session:
        rows = {job.id: job.key_id for job in session.query(Job)}
    assert rows[job["id"]] == key["id"]
    assert len(set(rows.values())) == 2


def test_one_request_sent_many_times_at_once_makes_one_job(
    world: World, evaluation: dict[str, Any]
) -> None:
    headers, answers = {"Idempotency-Key": "the same"}, list[Any]()

    def send() -> None:
        answers.append(world.client.post("/v1/jobs", json=evaluation, headers=headers))

    threads = [threading.Thread(target=send) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answer.status_code for answer in answers) == [200] * 5 + [202]
    assert len({answer.json()["id"] for answer in answers}) == 1


def test_a_value_that_the_database_cannot_store_is_refused(world: World) -> None:
    for path in ("/v1/jobs/%00", "/v1/jobs?chip_id=%00", "/v1/chips?name=%00"):
        assert world.client.get(path).status_code < 500
