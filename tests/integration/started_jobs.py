"""Jobs of a lab as they stand in the database: queued, called, started at their chip."""

from datetime import timedelta

from service.db.repositories.jobs import JobRepository
from service.db.tables import Job
from service.jobs.attempts.attempt import Attempt, DispatchTicket, Holder, begin_attempt
from service.states import JobStatus
from tests.integration.jobs_lab import Lab
from tests.integration.lab_seed import new_id, now


def a_job(lab: Lab, chip: str) -> Job:
    return Job(
        id=new_id(),
        kind="evaluate",
        status=JobStatus.QUEUED,
        request={},
        target_set_id=lab.seeded.target_set_id,
        student_id=lab.seeded.student_id,
        chip_id=chip,
        priority=5,
        turn=0,
        attempt=0,
        created_at=now(),
        code_version="test",
    )


def queued(lab: Lab, chip: str) -> str:
    """Called once, as if an executor had it."""
    job = a_job(lab, chip)
    job.turn, job.called_at = 1, now()
    with lab.database.writing() as session:
        JobRepository(session).add(job)
    return job.id


def started(lab: Lab, job_id: str, executor: str, ttl: timedelta) -> Attempt:
    with lab.database.writing() as session:
        attempt = begin_attempt(session, DispatchTicket(job_id, 1), Holder(executor, ttl), now())
    assert isinstance(attempt, Attempt)
    return attempt
