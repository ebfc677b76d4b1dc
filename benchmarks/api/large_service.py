"""One api on PostgreSQL, with a large fleet in its tables."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from sqlalchemy import select, text

from benchmarks.fleet.local_fleet import LocalFleet, local_fleet
from benchmarks.fleet.population import Size, populate
from benchmarks.fleet.processes import Host, Start
from benchmarks.job_latency import Service
from service.db.migrate import upgrade
from service.db.tables import Job, Student
from service.states import JobStatus

# One client asks as fast as it can: the limit for a key would answer in the service's place.
SETTINGS = {
    "TANDEMCAL_REQUESTS_PER_S": "1000000",
    "TANDEMCAL_SIMULATED_SECONDS_PER_SECOND": "0",
    "TANDEMCAL_JOB_THREADS": "1",
    "TANDEMCAL_LOG_LEVEL": "warning",
}
_ASKED = 500  # jobs of each status
# Chips are not due: what the planner does is measured elsewhere. No worker has the running jobs,
# so that nobody finds them lost.
_AT_REST = (
    "UPDATE policies SET enabled = false, probe_due_at = NULL, due_at = NULL",
    "UPDATE jobs SET called_at = NULL WHERE status = 'running'",
    "DELETE FROM executors",
)


class LargeService(NamedTuple):
    """The api, and rows that are asked for."""

    fleet: LocalFleet
    api: Service
    running: list[str]  # ids of jobs
    waiting: list[str]
    ended: list[str]
    student: str
    start: Start  # how a further process is started

    @property
    def port(self) -> int:
        return int(self.api.url.rpartition(":")[2])

    @property
    def pid(self) -> int:
        return self.fleet.processes[0].process.pid


@contextmanager
def large_service(host: Host, size: Size, console: Console) -> Iterator[LargeService]:
    """Fill the tables, and start an api on them."""
    with tempfile.TemporaryDirectory() as name, local_fleet(host, Path(name), **SETTINGS) as fleet:
        upgrade(fleet.settings.database)
        with fleet.database.engine.connect() as connection:
            populate(connection, size)
            for statement in _AT_REST:
                connection.execute(text(statement))
            connection.commit()
        console.print(f"{size.chips} chips, {size.jobs} jobs")
        yield _asked(fleet, fleet.api(), host.start)


def _asked(fleet: LocalFleet, api: Service, start: Start) -> LargeService:
    with fleet.database.reading() as session:

        def ids(status: JobStatus) -> list[str]:
            query = select(Job.id).where(Job.status == status, Job.kind != "train")
            return list(session.scalars(query.order_by(Job.id.desc()).limit(_ASKED)))

        student = session.scalars(select(Student.id)).one()
        running, waiting = ids(JobStatus.RUNNING), ids(JobStatus.QUEUED)
        ended = ids(JobStatus.SUCCEEDED)
    return LargeService(fleet, api, running, waiting, ended, student, start)
