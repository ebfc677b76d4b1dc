"""What a job shows at the top level, and the state of its chip before, during and after it."""

from typing import Any

import pytest
from sqlalchemy import update

from service.api.context import utc_now
from service.db.repositories.fingerprints import FingerprintRepository, ProbeRecord
from service.db.repositories.weights import WeightRepository
from service.db.tables import Job
from service.jobs.messages import Ended
from service.states import JobStatus
from tests.integration.asked_jobs import calibration, post
from tests.integration.test_last_trims import DAY, calibrated, end, published
from tests.world import World

ANSWER = {"rates": {"conv": [0.5]}, "chip_time_s": 1.0}


def job(world: World, job_id: str) -> Any:
    return world.client.get(f"/v1/jobs/{job_id}").json()


def state(world: World, chip_id: str) -> str:
    """The state of a chip; a list says the same."""
    one = world.client.get(f"/v1/chips/{chip_id}").json()
    assert one in world.client.get("/v1/chips").json()["items"]
    return str(one["state"])


def dispatch(world: World, job_id: str) -> None:
    """Hand a job to the workers, as the queue does."""
    with world.context.database.writing() as session:
        session.execute(update(Job).where(Job.id == job_id).values(called_at=utc_now()))


def test_settings_that_many_look_for_stand_at_the_top(world: World) -> None:
    settings = {"seed": 7, "budget": {"samples": 400}, "observable": "window"}
    found = post(world, calibration(world) | {"settings": settings}).json()
    named = {name: found[name] for name in ("rule", "change", "observable", "seed")}
    assert named == {"rule": "ltl-online", "change": "auto", "observable": "window", "seed": 7}
    assert found["budget"] == found["settings"]["budget"]
    assert found["budget"]["samples"] == 400


@pytest.mark.parametrize(
    ("stages", "change"), [(["trims"], "trims"), (["drift", "trims", "cells"], "auto")]
)
def test_change_says_whether_cells_may_be_written(
    world: World, stages: list[str], change: str
) -> None:
    found = post(world, calibration(world) | {"settings": {"stages": stages}}).json()
    assert found["change"] == change


def test_kinds_without_such_settings_have_none(world: World) -> None:
    targets = world.ready_targets()
    training = world.submit({"kind": "train", "target_set_id": targets, "settings": {"seed": 3}})
    assert (training["rule"], training["seed"]) == ("ltl-offline", 3)
    assert [training[name] for name in ("change", "observable", "budget")] == [None] * 3


@pytest.mark.both_databases
def test_a_job_keeps_the_version_and_the_fingerprint_that_it_found(world: World) -> None:
    first = calibrated(world, after=None)
    chip_id = job(world, first)["chip_id"]
    assert [job(world, first)[name] for name in ("weights_in_force", "version_at_start")] == [
        None
    ] * 2
    with world.context.database.writing() as session:
        version = WeightRepository(session).get(chip_id, 1).id
        probe = ProbeRecord(chip_id, first, 1, ANSWER, 0.5, None, 1.0)
        FingerprintRepository(session).keep(probe, utc_now())
    (fingerprint,) = world.client.get(f"/v1/chips/{chip_id}/fingerprints").json()["items"]
    second = world.calibrate(chip_id, job(world, first)["student_id"])["id"]
    assert job(world, second)["weights_in_force"] is None  # it has not started
    end(world, second, world.drive(second), published(world))
    found = job(world, second)  # although another version is in force by now
    assert found["weights_in_force"] == version
    assert found["version_at_start"] == 1
    assert found["fingerprint_at_start"] == fingerprint["id"]
    assert world.client.get(f"/v1/chips/{chip_id}").json()["version_in_force"] == 2


@pytest.mark.both_databases
def test_a_chip_is_reserved_from_the_dispatch_of_its_job_to_its_start(world: World) -> None:
    request = calibration(world)
    asked, chip_id = post(world, request).json()["id"], request["chip_id"]
    assert state(world, chip_id) == "idle"  # the job waits in our queue, and may be overtaken
    dispatch(world, asked)
    assert state(world, chip_id) == "reserved"
    token = world.drive(asked)
    assert state(world, chip_id) == "running"
    end(world, asked, token, Ended(status=JobStatus.CANCELLED, reason="stopped"))
    assert state(world, chip_id) == "idle"


@pytest.mark.both_databases
def test_a_chip_is_reserved_while_its_last_trims_wait(world: World) -> None:
    first = calibrated(world, DAY)
    chip_id = job(world, first)["chip_id"]
    assert state(world, chip_id) == "reserved"
    trims = job(world, first)["result"]["last_trims_job_id"]
    assert world.client.post(f"/v1/jobs/{trims}/cancel").status_code == 202
    assert state(world, chip_id) == "idle"


def test_a_job_of_another_chip_reserves_nothing(world: World) -> None:
    request = calibration(world)
    dispatch(world, post(world, request).json()["id"])
    other = world.register_chip("another")
    assert state(world, other["id"]) == "idle"
