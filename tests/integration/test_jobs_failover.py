"""Workers that die, freeze or are told to go: others go on, and nothing is doubled."""

from service.states import JobStatus
from tests.integration.fleet_lab import Fleet, no_orphan, overlaps
from tests.integration.jobs_lab import keys, until


def test_a_killed_worker_is_replaced_by_one_that_lives(fleet: Fleet) -> None:
    lab, api, workers = fleet.lab, fleet.api(), fleet.two_workers()
    chip = lab.chip("one", run_s=0.1)
    job = api.calibrate(chip, samples=32 * 40)
    waits = [api.evaluate(lab.chip(f"other {n}")) for n in range(6)] + [api.evaluate(chip)]
    dead = workers.pop(fleet.driver(job))
    (alive,) = workers.values()
    dead.kill()
    kept = lab.job(job).checkpoint_step
    until(lambda: no_orphan(lab.drives()) or lab.job(job).attempt == 2, "no orphan is left")

    done = lab.ended(job)
    assert done.status == JobStatus.SUCCEEDED, done.reason
    assert (done.attempt, done.executor_id) == (2, alive.name)
    (emitted,) = lab.events(job, "job.interrupted")
    assert emitted.data["checkpoint_step"] == kept
    assert all(lab.ended(waited).status == JobStatus.SUCCEEDED for waited in waits)
    for job_id in (job, *waits):
        assert max(keys(lab.events(job_id)).values()) == 1
    assert not overlaps(lab.drives())
    assert len(lab.versions(chip)) == len(lab.events(job, "weights.published"))
    assert fleet.executors() == {alive.name}
    assert alive.stop() == 0
    assert fleet.executors() == set()


def test_a_stopped_worker_hands_its_job_over(fleet: Fleet) -> None:
    lab, api, workers = fleet.lab, fleet.api(), fleet.two_workers()
    chip = lab.chip("one", run_s=0.1)
    job = api.calibrate(chip, samples=32 * 40)
    stopped = workers.pop(fleet.driver(job))
    assert stopped.stop() == 0
    done = lab.ended(job)
    assert done.status == JobStatus.SUCCEEDED, done.reason
    assert done.executor_id in workers
    assert lab.events(job, "job.interrupted") == []
    (handed,) = lab.events(job, "job.waiting")
    assert "stopped" in handed.data["reason"]
    progress = [event.data["progress"] for event in lab.events(job, "job.progress")]
    before = [one["step"] for one in progress if one["phase"] == "calibrating"]
    assert handed.data["checkpoint_step"] in before
    assert not overlaps(lab.drives())


def test_a_frozen_worker_that_wakes_writes_nothing(fleet: Fleet) -> None:
    lab, api, workers = fleet.lab, fleet.api(), fleet.two_workers()
    chip = lab.chip("one", run_s=0.1)
    job = api.calibrate(chip, samples=32 * 60)  # it works on alone while its lease lasts
    frozen = workers.pop(fleet.driver(job))
    frozen.freeze()
    until(lambda: lab.job(job).executor_id in workers, "the other one takes over")
    frozen.wake()
    done = lab.ended(job)
    assert done.status == JobStatus.SUCCEEDED, done.reason
    assert done.attempt == 2
    assert done.executor_id in workers
    assert not overlaps(lab.drives())
    assert max(keys(lab.events(job)).values()) == 1
    after = api.evaluate(chip)
    assert lab.ended(after).status == JobStatus.SUCCEEDED
    until(lambda: {"first", "second"} <= fleet.executors(), "the one that woke works on")
