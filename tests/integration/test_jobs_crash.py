"""kill -9 of the service, and of a job alone: nothing is lost, nothing is doubled."""

from pathlib import Path

from service.states import JobStatus
from tests.integration.jobs_lab import Lab, Service, keys, until

STEPS = 24  # of 0.15 s: it is killed after the checkpoint of the first two seconds


def test_a_killed_service_goes_on_from_its_checkpoint(lab: Lab) -> None:
    chip, other = lab.chip("one", run_s=0.15), lab.chip("two", run_s=0.01)
    blobs, service = lab.blobs(), Service(lab)
    job = service.calibrate(chip, samples=32 * STEPS, verification_samples=64)
    behind = [service.evaluate(chip), service.evaluate(other), service.evaluate(chip)]
    until(lambda: (lab.job(job).checkpoint_step or 0) >= 4, "a few steps are kept")
    service.kill()
    kept, runs_before = lab.job(job).checkpoint_step or 0, len(lab.drives())
    orphans = {drive.pid for drive in lab.drives()}
    until(lambda: not any(map(is_alive, orphans)), "no orphan is left", 5)

    service = Service(lab)
    done = lab.ended(job)
    assert all(lab.ended(waited).status == JobStatus.SUCCEEDED for waited in behind)
    service.stop()

    assert done.status == JobStatus.SUCCEEDED, done.reason
    assert done.attempt == 2
    assert [event.data["checkpoint_step"] for event in lab.events(job, "job.interrupted")] == [kept]
    assert done.result is not None
    assert done.result["spent"]["samples"] == 32 * STEPS
    steps = [drive for drive in lab.drives()[runs_before:] if drive.verb == "run"]
    assert len([d for d in steps if d.chip_id == chip]) < STEPS - kept + 12  # not from the start
    for job_id in (job, *behind):
        emitted = keys(lab.events(job_id))
        assert max(emitted.values()) == 1
        assert emitted["job.queued", "0"] == emitted["job.ended", ""] == 1
    named = {*lab.states(), *(version.sha256 for version in lab.versions(chip))}
    assert len(lab.blobs() - blobs - named) <= 4  # what the kill caught between two writes
    assert len(lab.versions(chip)) <= 1
    assert len(lab.versions(chip)) == len(lab.events(job, "weights.published"))


def test_a_stopped_service_goes_on_and_counts_no_failure(lab: Lab) -> None:
    chip = lab.chip("one", run_s=0.15)
    service = Service(lab)
    job = service.calibrate(chip, samples=32 * STEPS, verification_samples=64)
    until(lambda: (lab.job(job).checkpoint_step or 0) >= 1, "a step is kept")
    service.stop()
    assert lab.job(job).status == JobStatus.WAITING_FOR_CHIP
    assert lab.lease(chip).holder is None
    service = Service(lab)
    done = lab.ended(job)
    service.stop()
    assert done.status == JobStatus.SUCCEEDED, done.reason
    assert lab.events(job, "job.interrupted") == []


def test_a_job_that_never_stops_is_killed(lab: Lab) -> None:
    chip = lab.chip("endless", run_s=600)
    service = Service(lab, TANDEMCAL_JOB_LIMIT_S="2")
    done = lab.ended(service.evaluate(chip))
    service.stop()
    assert done.status == JobStatus.FAILED
    assert "killed" in (done.reason or "")
    assert lab.lease(chip).holder is None


def is_alive(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
