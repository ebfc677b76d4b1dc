"""A job that needs more memory than the machine has for it."""

import errno
import json
import subprocess
import sys
from collections.abc import Mapping
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import safetensors.numpy
from sqlalchemy.orm import Session

from ltl_core.memory import calibration_bytes, training_bytes
from ltl_core.network.spec import NetworkSpec
from ltl_core.settings import CalibrationSettings, TrainingSettings
from service.api.batches import Batches
from service.api.submissions import submit_together
from service.db.repositories.jobs import JobRepository
from service.jobs.attempts import attempt_runner
from service.jobs.kinds import memory
from service.jobs.kinds.memory import available_bytes, is_shortage, limit_of
from service.jobs.submit import Submitter
from service.settings import Settings
from tests.integration.jobs.begun import begun, dispatched, job_of
from tests.integration.jobs.test_attempts import run
from tests.world import World, small_samples

GIB = 2**30
# torch's allocation, in a process of its own: a limit cannot be raised again.
ALLOCATES = """
import sys, torch
from service.settings import Settings
from service.jobs.kinds.memory import bound_memory, is_shortage
if sys.argv[1] != "none":
    bound_memory(int(sys.argv[1]))
try:
    torch.empty(int(sys.argv[2]), dtype=torch.uint8)
    print("allocated")
except Exception as error:
    print("short" if is_shortage(error) else repr(error))
"""


def allocate(limit: int | None, size: int) -> str:
    words = [sys.executable, "-c", ALLOCATES, str(limit or "none"), str(size)]
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout.strip()


def test_a_job_gets_what_it_may_have_and_no_more() -> None:
    assert allocate(2 * GIB, GIB // 2) == "allocated"
    assert allocate(2 * GIB, 3 * GIB) == "short"
    assert allocate(None, 3 * GIB) == "allocated"


def test_jobs_together_do_not_get_all_of_the_machine() -> None:
    assert 4 * limit_of(Settings(parallel_jobs=4)) < available_bytes()
    assert limit_of(Settings(parallel_jobs=4, job_memory_bytes=GIB)) == GIB


@pytest.mark.parametrize("error", [ValueError("x"), RuntimeError("size mismatch"), OSError(28)])
def test_other_errors_are_no_shortage(error: Exception) -> None:
    assert not is_shortage(error)


def test_memory_that_the_kernel_denies_is_a_shortage_of_the_job() -> None:
    assert is_shortage(OSError(errno.ENOMEM, "Cannot allocate memory"))


HUGE = {"rule": "bptt", "batch": 4096, "neuron": {"steps": 1024}}
LARGE_NETWORK: dict[str, Any] = {
    "input_shape": [64],
    "layers": [
        {"kind": "linear", "name": "a", "in_features": 64, "out_features": 256},
        {"kind": "linear", "name": "b", "in_features": 256, "out_features": 128},
        {"kind": "linear", "name": "readout", "in_features": 128, "out_features": 10},
    ],
}
# One epoch of a training, in a process of its own: how much memory it had at most.
TRAINS = """
import json, sys, torch
import torch._dynamo  # what the fork server has loaded
from ltl_core.network.spec import NetworkSpec
from ltl_core.settings import TrainingSettings
from ltl_core.teaching.targets import Samples
from ltl_core.teaching.teacher import collect
from ltl_core.training.training import Training
torch.set_num_threads(1)
torch.manual_seed(1)
network = NetworkSpec.model_validate(json.loads(sys.argv[1]))
weights = {name: 0.2 * torch.randn(shape) for name, shape in network.tensor_shapes.items()}
samples = Samples(torch.rand(256, 64), torch.arange(256) % 10)
targets = collect(network, weights, samples)
settings = TrainingSettings.model_validate(json.loads(sys.argv[2]) | {"epochs": 1})
with torch.no_grad():
    list(Training(network, weights, targets, settings).epochs())
status = dict(line.split(":") for line in open("/proc/self/status").read().splitlines())
most, files = (int(status[name].split()[0]) for name in ("VmHWM", "RssFile"))
print(1024 * (most - files))  # a limit on memory does not count what is mapped of libraries
"""


@pytest.mark.parametrize(("rule", "other"), [("bptt", "ltl-online"), ("ltl-online", "bptt")])
def test_an_estimate_is_above_what_a_training_takes_and_not_twice_as_much(
    rule: str, other: str
) -> None:
    settings = {"rule": rule, "batch": 256, "neuron": {"steps": 192}}
    words = [sys.executable, "-c", TRAINS, json.dumps(LARGE_NETWORK), json.dumps(settings)]
    took = int(subprocess.run(words, check=True, capture_output=True, text=True).stdout)
    network = NetworkSpec.model_validate(LARGE_NETWORK)

    def is_estimate(asked: Mapping[str, Any]) -> bool:
        estimate = training_bytes(network, TrainingSettings.model_validate(asked), 256)
        return estimate / 2 < took < estimate

    assert is_estimate(settings)
    assert not is_estimate(settings | {"rule": other})


def test_estimates_grow_with_what_a_request_asks_for() -> None:
    network = NetworkSpec.model_validate(LARGE_NETWORK)

    def training(**asked: Any) -> int:
        return training_bytes(network, TrainingSettings.model_validate(asked), 10_000)

    assert training(**HUGE) > 20 * 2**30
    assert training() < 2**30
    assert training(rule="ltl-online", batch=4096, neuron={"steps": 1024}) < training(**HUGE) / 20

    def calibration(**asked: Any) -> int:
        return calibration_bytes(network, CalibrationSettings.model_validate(asked), 1024, 100)

    assert calibration(batch=4096, observable="membrane") > 4 * calibration(batch=4096)
    assert calibration() < 2**30


def test_a_job_that_needs_too_much_memory_is_refused(world: World) -> None:
    body = {"kind": "train", "target_set_id": world.ready_targets()}
    limited(world, 400 * 2**20)
    before = world.stored()
    answer = world.client.post("/v1/jobs", json=body | {"settings": HUGE}, headers=once("huge"))
    problem = answer.json()
    assert (answer.status_code, problem["type"]) == (422, "/problems/job-too-large")
    assert problem["limit_bytes"] == 400 * 2**20 < problem["estimate_bytes"]
    assert "0.4 GiB" in problem["detail"]
    assert "TANDEMCAL_JOB_MEMORY_BYTES" in problem["detail"]
    assert world.stored() == before
    assert world.client.post("/v1/jobs", json=body, headers=once("small")).status_code == 202


def test_without_a_limit_it_is_accepted(world: World) -> None:
    body = {"kind": "train", "target_set_id": world.ready_targets(), "settings": HUGE}
    limited(world, None)
    assert world.client.post("/v1/jobs", json=body, headers=once("huge")).status_code == 202


@pytest.mark.parametrize("kind", ["calibrate", "evaluate", "tune"])
def test_jobs_with_a_chip_are_estimated_too(world: World, kind: str) -> None:
    body = {
        "kind": kind,
        "chip_id": world.register_chip()["id"],
        "student_id": world.trained_student(),
    }
    limited(world, 2**20)
    answer = world.client.post("/v1/jobs", json=body, headers=once(kind))
    assert answer.json()["type"] == "/problems/job-too-large"


def test_so_is_a_collection(world: World) -> None:
    target_set = world.announce_targets(world.upload_teacher()["id"])
    block = safetensors.numpy.save(small_samples())
    for index, split in enumerate(("calibration", "test")):
        world.put_chunk(target_set["id"], index, split, block)
    limited(world, 2**20)
    answer = world.post_once(f"/v1/target-sets/{target_set['id']}/complete")
    assert answer.json()["type"] == "/problems/job-too-large"


def test_a_worker_refuses_what_was_accepted_where_its_limit_was_not_known(world: World) -> None:
    body = {"kind": "train", "target_set_id": world.ready_targets(), "settings": HUGE}
    limited(world, None)
    job, database = world.submit(body), world.context.database
    with database.writing() as session:
        row = JobRepository(session).get(job["id"])
        row.turn, row.called_at = 1, row.created_at
    settings = world.context.settings.model_copy(update={"job_memory_bytes": 2**29})
    run(settings, database, begun(database, job["id"]), [EOFError])
    ended = job_of(database, job["id"])
    assert (ended.status, "0.5 GiB" in str(ended.reason)) == ("failed", True)


@pytest.mark.parametrize(("kills", "status"), [((3, 4), "failed"), ((3, 3), "running")])
def test_a_job_that_is_killed_for_its_memory_is_not_tried_again(
    world: World, monkeypatch: pytest.MonkeyPatch, kills: tuple[int, int], status: str
) -> None:
    database, counts = world.context.database, iter(kills)
    dispatched(database, "job")
    monkeypatch.setattr(attempt_runner, "oom_kills", lambda: next(counts))
    run(world.context.settings, database, begun(database, "job"), [EOFError])
    ended = job_of(database, "job")
    assert ended.status == status
    assert ("ran out of memory" in str(ended.reason)) == (status == "failed")


def test_the_kernel_says_how_often_it_killed_for_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    container, machine = tmp_path / "memory.events", tmp_path / "vmstat"
    container.write_text("oom 9\noom_kill 3\noom_group_kill 0\n")
    machine.write_text("pgfault 70\noom_kill 4\n")
    assert any("oom_kill " in path.read_text() for path in memory._OOM_COUNTS if path.is_file())
    monkeypatch.setattr(memory, "_OOM_COUNTS", (container, machine, tmp_path / "missing"))
    assert memory.oom_kills() == 3 + 4


def limited(world: World, limit: int | None) -> None:
    """Let jobs of this world have so much memory."""
    app: Any = world.client.app
    context = world.context

    def submitter(session: Session, now: datetime) -> Submitter:
        return Submitter(session, context.engine, now, kinds=context.kinds, memory_limit=limit)

    together = partial(submit_together, context.database, submitter)
    submissions = Batches(together, context.threads.writers)
    app.state.context = context._replace(memory_limit=limit, submissions=submissions)


def once(key: str) -> dict[str, str]:
    return {"Idempotency-Key": key}
