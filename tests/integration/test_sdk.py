"""The Python client against the real service; the tests end its jobs as a worker would."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from ltl_core.network.spec import NetworkSpec
from ltl_core.settings import Budget, CalibrationSettings
from service.api.context import utc_now
from service.client.chips import Chips
from service.client.errors import JobEndedError, TandemcalError
from service.client.job import Job
from service.client.jobs import Jobs
from service.client.teachers import Splits, Students, TargetSets, Teachers
from service.client.tensors import Samples, cut
from service.client.transport import Retry, Transport, upload_headers
from service.db.repositories.jobs import JobRepository
from service.db.repositories.target_sets import TargetSetRepository
from service.schemas.resources import TargetSetView
from service.schemas.upkeep import PolicyRequest
from service.states import JobStatus, TargetSetState
from tests.world import NETWORK, STUDENT_BLOCK, World, small_samples, small_weights


def transport(world: World) -> Transport:
    """Build an httpx client whose requests the service in this process answers."""

    def answer(request: httpx.Request) -> httpx.Response:
        url, content = str(request.url), request.read()
        answered = world.client.request(
            request.method, url, content=content, headers=dict(request.headers)
        )
        return httpx.Response(
            answered.status_code, headers=dict(answered.headers), content=answered.content
        )

    http = httpx.Client(
        base_url="http://testserver",
        headers={"Accept-Encoding": "identity"},
        transport=httpx.MockTransport(answer),
    )
    return Transport(http, Retry(tries=1))


def spec() -> NetworkSpec:
    return NetworkSpec.model_validate(NETWORK)


def small_splits() -> Splits:
    samples = small_samples(6)
    one = Samples(samples["inputs"], samples["labels"])
    return Splits(one, one)


def finish_collect(world: World, job_id: str, status: JobStatus) -> None:
    """Write the result of a collect job as a worker would."""
    now = utc_now()
    with world.context.database.writing() as session:
        jobs, sets = JobRepository(session), TargetSetRepository(session)
        job = jobs.start(job_id, 1, "worker", now)
        if status == JobStatus.SUCCEEDED:
            sets.set_ready(job_id, 1, {"teacher_accuracy": {"test": 0.9}}, "0" * 64)
        else:
            sets.set_state(str(job.target_set_id), TargetSetState.FAILED, "a layer is silent")
        jobs.end(job_id, 1, status, "a layer is silent", None, now)


class Collected(Jobs):
    """Ends jobs with a given result as soon as the client waits for them."""

    def __init__(self, transport: Transport, world: World, status: JobStatus) -> None:
        super().__init__(transport)
        self._world, self._status = world, status

    def wait(self, job_id: str, timeout: float | None = None) -> Job:
        finish_collect(self._world, job_id, self._status)
        return super().wait(job_id, timeout)


def test_a_teacher_comes_back_as_it_was_sent(world: World) -> None:
    teachers = Teachers(transport(world))
    sent = teachers.upload("digits", spec(), small_weights())
    assert teachers.get(sent.id) == sent
    assert sent.network == spec()
    assert [one.id for one in teachers.list()] == [sent.id]


def test_weights_that_do_not_fit_are_refused_with_the_layer_named(world: World) -> None:
    weights = small_weights() | {"readout.weight": np.zeros((5, 11), np.float32)}
    with pytest.raises(TandemcalError, match="readout"):
        Teachers(transport(world)).upload("digits", spec(), weights)


def test_resuming_an_upload_sends_only_what_is_missing(world: World) -> None:
    line = transport(world)
    teacher = Teachers(line).upload("digits", spec(), small_weights())
    body = {"name": "digits", "teacher_id": teacher.id, "chunks": 4}
    announced = line.post("/v1/target-sets", body, TargetSetView)
    first = next(iter(cut(small_splits()._asdict(), 4)))
    path = f"/v1/target-sets/{announced.id}/chunks/0"
    headers = upload_headers(first.block)
    line.send("PUT", path, params={"split": first.split}, content=first.block, headers=headers)

    sets = TargetSets(line, Collected(line, world, JobStatus.SUCCEEDED))
    assert sets.get(announced.id).missing == [1, 2, 3]
    ready = sets.resume(announced.id, small_splits(), chunk_samples=4)
    assert (ready.state, ready.missing) == ("ready", [])


def test_a_collection_that_failed_is_an_error_with_its_reason(world: World) -> None:
    line = transport(world)
    teacher = Teachers(line).upload("digits", spec(), small_weights())
    sets = TargetSets(line, Collected(line, world, JobStatus.FAILED))
    with pytest.raises(JobEndedError, match="a layer is silent"):
        sets.upload("digits", teacher.id, small_splits(), chunk_samples=4)


def test_a_chip_is_found_by_its_name(world: World) -> None:
    chips = Chips(transport(world))
    made = chips.register("bench 1", preset="pcm", seed=3)
    assert chips.find("bench 1") == made
    assert chips.find("bench 2") is None
    assert made.settings["preset"] == "pcm"


def test_a_chip_is_renamed_and_retired(world: World) -> None:
    chips = Chips(transport(world))
    chip = chips.register("bench 1", preset="ideal", seed=3)
    assert chips.rename(chip.id, "bench 2").name == "bench 2"
    chips.retire(chip.id)
    assert chips.get(chip.id).health == "retired"


def test_settings_reach_the_job(world: World) -> None:
    student = world.trained_student()
    chip = Chips(transport(world)).register("bench 1", preset="ideal", seed=3)
    settings = CalibrationSettings(budget=Budget(samples=640), seed=7)
    job = Jobs(transport(world)).calibrate(chip.id, student, settings)
    assert job.settings == settings.model_dump(mode="json")
    assert not job.terminal


def test_a_cancelled_job_has_ended(world: World) -> None:
    jobs = Jobs(transport(world))
    job = jobs.train(world.ready_targets())
    jobs.cancel(job.id)
    assert jobs.wait(job.id, timeout=5).status == "cancelled"
    assert jobs.retry(job.id).id != job.id


def test_a_wait_has_an_end(world: World) -> None:
    jobs = Jobs(transport(world))
    job = jobs.train(world.ready_targets())
    with pytest.raises(TimeoutError, match=job.id):
        jobs.wait(job.id, timeout=0.3)


def test_the_events_of_a_job_end_with_its_end(world: World) -> None:
    jobs = Jobs(transport(world))
    job = jobs.train(world.ready_targets())
    jobs.cancel(job.id)
    assert [event.type for event in jobs.events(job.id)] == ["job.queued", "job.ended"]


def test_a_students_weights_arrive_whole(world: World, tmp_path: Path) -> None:
    students = Students(transport(world))
    student = students.get(world.trained_student())
    path = students.download_weights(student.id, tmp_path / "student.safetensors")
    assert path.read_bytes() == STUDENT_BLOCK


@pytest.mark.parametrize("chosen", [{"preset": "pcn", "seed": 1}, {"preset": "pcm", "seed": -1}])
def test_a_chip_with_invalid_settings_is_refused(world: World, chosen: Mapping[str, Any]) -> None:
    with pytest.raises(TandemcalError) as raised:
        Chips(transport(world)).register("bench 1", **chosen)
    assert raised.value.status == 422


def test_a_policy_is_set_and_dropped(world: World) -> None:
    chips = Chips(transport(world))
    chip = chips.register("bench 1", preset="ideal", seed=3)
    assert chip.drift_score is None
    wanted = PolicyRequest(probe_every_s=600, calibrate_at_score=0.8)
    made = chips.set_policy(chip.id, wanted)
    assert chips.policy(chip.id) == made
    assert (made.probe_every_s, made.calibrate_at_score, made.priority) == (600, 0.8, 8)
    assert made.probe_due_at is not None
    chips.drop_policy(chip.id)
    with pytest.raises(TandemcalError, match="no policy"):
        chips.policy(chip.id)


def test_a_probe_needs_weights_in_force(world: World) -> None:
    chips = Chips(transport(world))
    chip = chips.register("bench 1", preset="ideal", seed=3)
    assert list(chips.fingerprints(chip.id)) == []
    with pytest.raises(TandemcalError, match="calibrate it first"):
        Jobs(transport(world)).probe(chip.id)
