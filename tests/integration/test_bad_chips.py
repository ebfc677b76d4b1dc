"""A calibration of a broken chip is a job that ends: with a reason, with codes, with a health."""

from datetime import timedelta

from service.artifacts import ArtifactStore
from service.db.repositories.chips import ChipRepository
from service.db.repositories.jobs import JobRepository
from service.db.repositories.leases import LeaseRepository
from service.db.tables import Chip, Job
from service.jobs.attempts.describe import Describer
from service.jobs.attempts.recorder import Recorder
from service.jobs.kinds.context import JobContext, NoLink
from service.jobs.kinds.main import do_job
from service.jobs.messages import ExecutorConfig
from service.states import JobStatus
from tests.agents import CIPHER
from tests.integration.jobs_lab import Lab
from tests.integration.lab_seed import new_id, now

SETTINGS = {
    "budget": {"samples": 160, "cell_writes_per_cell": 0.5},
    "target_points": None,
    "stages": ["trims", "cells"],
    "data": "lab",
}


def a_broken_chip(lab: Lab) -> str:
    settings = {"preset": "pcm", "layer": "hidden"}
    chip = Chip(
        id=new_id(),
        name="broken",
        backend="bad",
        settings=settings,
        info={},
        health="unknown",
        created_at=now(),
    )
    with lab.database.writing() as session:
        ChipRepository(session).add(chip)
    return chip.id


def a_calibration(lab: Lab, chip_id: str) -> Job:
    return Job(
        id=new_id(),
        kind="calibrate",
        status=JobStatus.QUEUED,
        request={"settings": SETTINGS},
        target_set_id=lab.seeded.target_set_id,
        student_id=lab.seeded.student_id,
        chip_id=chip_id,
        priority=5,
        attempt=0,
        created_at=now(),
        code_version="test",
    )


def test_the_job_says_why_it_ended_and_the_chip_has_a_health(lab: Lab) -> None:
    chip_id, store = a_broken_chip(lab), ArtifactStore(lab.settings.artifacts_dir)
    job, hour = a_calibration(lab, chip_id), timedelta(hours=1)
    with lab.database.writing() as session:
        JobRepository(session).add(job)
        token = LeaseRepository(session).take(chip_id, "worker", job.id, hour, now())
        assert token is not None
        started = JobRepository(session).start(job.id, token, "worker", now())
        config = ExecutorConfig(
            artifacts_dir=str(lab.settings.artifacts_dir),
            threads=1,
            chip_backends={"bad": "tests.bad_chips:make"},
        )
        description = Describer(session, config, 0.0, CIPHER).describe(started, now())
    ended = do_job(JobContext(store, NoLink(), description))
    with lab.database.writing() as session:
        Recorder(session, JobRepository(session).get(job.id), token, now()).end(ended, store)
    done = lab.job(job.id)
    assert done.status == JobStatus.SUCCEEDED, done.reason
    result = done.result or {}
    assert result["ended_by"] in {"nothing gained any more", "budget:samples", "budget:writes"}
    assert result["spent"]["cell_writes_per_cell"] <= 0.5
    with lab.database.reading() as session:
        chip = ChipRepository(session).get(chip_id)
        assert chip.health == result["health"] != "unknown"
        assert (chip.version_in_force is not None) == result["published"]
