"""Cancelling a job is the same from the API, from its page, and when its chip is retired."""

from typing import Any

import pytest

from service.api.context import utc_now
from service.db.repositories.jobs import JobRepository
from tests.world import World

OWN = {"Sec-Fetch-Site": "same-origin"}
PREFIXES = {"api": "/v1", "page": ""}


@pytest.fixture
def job(world: World) -> Any:
    """A calibration that waits for its chip."""
    return world.calibrate(world.register_chip()["id"], world.trained_student())


def press(world: World, prefix: str, job_id: str) -> None:
    """Ask for the cancellation, as a program or as a browser that is signed in."""
    world.client.post("/v1/session", json={"key": world.key})
    keys = {} if prefix else OWN | {"Authorization": ""}
    path = f"{prefix}/jobs/{job_id}/cancel"
    assert world.client.post(path, headers=keys).status_code in (200, 202)


def audited(world: World) -> list[str]:
    """The jobs of which the trail says that they were cancelled."""
    query = {"action": "job.cancelled"}
    events = world.client.get("/v1/audit", params=query).json()["items"]
    return [event["subject"] for event in events]


def put_back(world: World, job_id: str) -> None:
    """Begin the job, and give it back to the queue, as a worker does that is stopped."""
    token = world.drive(job_id)
    with world.context.database.writing() as session:
        JobRepository(session).put_back(job_id, token, "its worker was stopped", utc_now())


def status(world: World, job_id: str) -> str:
    return str(world.client.get(f"/v1/jobs/{job_id}").json()["status"])


@pytest.mark.parametrize("prefix", PREFIXES.values(), ids=PREFIXES)
def test_a_running_job_stays_with_its_worker_which_restores_the_chip(
    world: World, job: Any, prefix: str
) -> None:
    world.drive(job["id"])
    for _ in range(2):
        press(world, prefix, job["id"])
        assert status(world, job["id"]) == "cancelling"
    assert world.engine.cancelled == []
    assert audited(world) == [job["id"]]


@pytest.mark.parametrize("prefix", PREFIXES.values(), ids=PREFIXES)
def test_a_job_that_never_began_leaves_the_queue(world: World, job: Any, prefix: str) -> None:
    for _ in range(2):
        press(world, prefix, job["id"])
        assert status(world, job["id"]) == "cancelled"
    assert set(world.engine.cancelled) == {job["id"]}
    assert audited(world) == [job["id"]]


def test_a_retired_chip_keeps_the_jobs_in_the_queue_that_have_to_restore_it(
    world: World, job: Any
) -> None:
    put_back(world, job["id"])
    fresh = world.calibrate(job["chip_id"], job["student_id"], seed=2)
    world.client.delete(f"/v1/chips/{job['chip_id']}")
    assert status(world, job["id"]) == "cancelling"
    assert status(world, fresh["id"]) == "cancelled"
    assert world.engine.cancelled == [fresh["id"]]
