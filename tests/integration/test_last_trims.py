"""Last trims once the chip has aged: a job that follows by itself, once, when the chip is old."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select

from service.api.context import utc_now
from service.db.repositories.jobs import JobRepository
from service.db.tables import Job
from service.errors import AttemptSupersededError
from service.jobs.attempts.recorder import Recorder
from service.jobs.messages import Ended
from service.states import JobStatus
from tests.integration.asked_jobs import calibration, post
from tests.integration.jobs_lab import Lab, Service
from tests.world import World

DAY = 86_400.0
ACCURACY = {"golden": 0.9, "before": 0.5, "after": 0.9}


def published(world: World, **result: Any) -> Ended:
    """What a worker says of a calibration whose weights are better."""
    whole = {
        "accuracy": ACCURACY,
        "chip_time_s": 60.0,
        "rule": "ltl-online",
        "observable": "counts",
        "last_trims_wait_s": DAY,
    }
    block = world.context.artifacts.put(b"codes")
    return Ended(status=JobStatus.SUCCEEDED, result=whole | result, blocks={"weights": block})


def end(world: World, job_id: str, token: int, ended: Ended) -> None:
    with world.context.database.writing() as session:
        job = JobRepository(session).get(job_id)
        Recorder(session, job, token, utc_now()).end(ended, world.context.artifacts)


def calibrated(world: World, after: float | None = DAY) -> str:
    """A calibration that has ended with a published version."""
    job = post(world, calibration(world, last_trims_after_s=after)).json()["id"]
    end(world, job, world.drive(job), published(world))
    return str(job)


def followers(world: World, job_id: str) -> list[Job]:
    with world.context.database.reading() as session:
        jobs = session.scalars(select(Job).where(Job.kind == "calibrate").order_by(Job.id))
        return [job for job in jobs if job.request.get("follows") == job_id]


@pytest.mark.both_databases
def test_last_trims_are_queued_for_when_the_chip_is_old_enough(world: World) -> None:
    first = calibrated(world)
    (trims,) = followers(world, first)
    view = world.client.get(f"/v1/jobs/{first}").json()
    assert view["result"]["last_trims_job_id"] == trims.id
    assert trims.not_before is not None
    wait = trims.not_before - datetime.fromisoformat(view["ended_at"])
    assert abs(wait - timedelta(days=1)) < timedelta(seconds=1)
    assert trims.status == JobStatus.QUEUED
    asked = trims.request["settings"]
    assert asked["stages"] == ["trims"]
    assert asked["budget"]["samples"] == 400
    assert trims.request["last_trims_after_s"] is None  # they are the last


def test_without_the_wish_nothing_follows(world: World) -> None:
    assert followers(world, calibrated(world, after=None)) == []


def test_without_new_weights_nothing_follows(world: World) -> None:
    job = post(world, calibration(world, last_trims_after_s=DAY)).json()["id"]
    end(world, job, world.drive(job), published(world).model_copy(update={"blocks": {}}))
    assert followers(world, job) == []


def test_an_attempt_that_was_superseded_queues_nothing(world: World) -> None:
    job = post(world, calibration(world, last_trims_after_s=DAY)).json()["id"]
    token = world.drive(job)
    end(world, job, token, published(world))
    with pytest.raises(AttemptSupersededError):
        end(world, job, token, published(world))
    assert len(followers(world, job)) == 1


def test_a_chip_that_is_too_young_is_waited_for_again(world: World) -> None:
    first = calibrated(world)
    (trims,) = followers(world, first)
    early = Ended(status=JobStatus.SUCCEEDED, result={"too_young_s": 1800.0})
    end(world, trims.id, world.drive(trims.id), early)
    _, again = followers(world, first)
    assert again.not_before is not None
    assert again.not_before > utc_now() + timedelta(seconds=1700)
    assert again.request["settings"] == trims.request["settings"]


def test_last_trims_are_cancelled_as_any_job(world: World) -> None:
    (trims,) = followers(world, calibrated(world))
    assert world.client.post(f"/v1/jobs/{trims.id}/cancel").status_code == 202
    assert world.client.get(f"/v1/jobs/{trims.id}").json()["status"] == "cancelled"


def test_pages_link_both_jobs(world: World) -> None:
    first = calibrated(world)
    (trims,) = followers(world, first)
    world.client.post("/login", data={"key": world.key})
    assert f'href="/jobs/{trims.id}"' in world.client.get(f"/jobs/{first}").text
    assert f'href="/jobs/{first}"' in world.client.get(f"/jobs/{trims.id}").text


@pytest.mark.parametrize("after", [60.0, 8 * DAY])
def test_an_age_is_an_hour_to_a_week(world: World, after: float) -> None:
    answer = post(world, calibration(world, last_trims_after_s=after))
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "/last_trims_after_s"


def test_only_a_job_that_published_weights_can_be_followed(world: World) -> None:
    body = calibration(world)
    other = post(world, body).json()["id"]
    answer = post(world, body | {"follows": other})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "/follows"


def test_a_chip_gets_its_last_trims_a_day_later_by_its_own_clock(lab: Lab) -> None:
    chip = lab.chip("ageing", preset="pcm")
    service = Service(lab)
    first = service.published(chip, last_trims_after_s=DAY)
    trims = lab.ended(str((first.result or {})["last_trims_job_id"]))
    service.stop()
    assert trims.status == JobStatus.SUCCEEDED, trims.reason
    result, before = trims.result or {}, first.result or {}
    assert result["chip_time_s"] - before["chip_time_s"] > 0.98 * DAY
    assert [stage["stage"] for stage in result["stages"]] == ["trims"]
    assert result["spent"]["cells"] == 0
    assert trims.weights_in_force == before["weights_version"]
