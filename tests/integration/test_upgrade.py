"""A release is replaced while a job runs: its worker hands the job over, the next one ends it."""

from service.db.migrate import downgrade, is_current
from service.db.tables import Job
from service.states import JobStatus
from tests.integration.fleet_lab import Fleet, overlaps
from tests.integration.jobs_lab import Lab, Service, keys, until

OLDER = "0005"  # the schema of an older release


def in_flight(lab: Lab, job_id: str) -> Job:
    """The job, once a few steps are kept."""
    until(lambda: (lab.job(job_id).checkpoint_step or 0) >= 2, "a few steps are kept")
    return lab.job(job_id)


def as_an_older_release_left_it(lab: Lab) -> None:
    downgrade(lab.settings.database, OLDER)
    assert not is_current(lab.database.engine)
    lab.database.engine.dispose()


def ended_well(lab: Lab, job_id: str) -> Job:
    """By its second attempt, from its checkpoint, and told once."""
    done = lab.ended(job_id)
    assert done.status == JobStatus.SUCCEEDED, done.reason
    assert done.attempt == 2
    assert lab.events(job_id, "job.interrupted") == []
    assert max(keys(lab.events(job_id)).values()) == 1
    (handed,) = lab.events(job_id, "job.waiting")
    assert handed.data["checkpoint_step"] >= 2
    assert not overlaps(lab.drives())
    assert is_current(lab.database.engine)
    return done


def test_a_job_goes_on_in_the_next_release_of_a_fleet(fleet: Fleet) -> None:
    lab, api, old = fleet.lab, fleet.api(), fleet.starting_worker("old")
    job = api.calibrate(lab.chip("one", run_s=0.1), samples=32 * 30)
    assert in_flight(lab, job).executor_id == "old"
    assert old.stop() == 0
    assert lab.job(job).status == JobStatus.WAITING_FOR_CHIP
    api.stop()
    as_an_older_release_left_it(lab)
    fleet.starting_worker("new")
    until(lambda: is_current(lab.database.engine), "the database has the schema of the new release")
    assert ended_well(lab, job).executor_id == "new"


def test_a_job_goes_on_in_the_next_release_of_a_service(lab: Lab) -> None:
    old = Service(lab)
    job = old.calibrate(lab.chip("one", run_s=0.1), samples=32 * 30)
    in_flight(lab, job)
    old.stop()
    as_an_older_release_left_it(lab)
    new = Service(lab)
    try:
        ended_well(lab, job)
    finally:
        new.stop()
