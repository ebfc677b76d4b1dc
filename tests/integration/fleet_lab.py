"""A lab on PostgreSQL, and the processes of a fleet on it: an api, workers, the server itself.

with a_fleet(server, template, seeded_lab, root) as fleet:
    api, first, second = fleet.api(), fleet.worker("first"), fleet.worker("second")
    job = api.calibrate(fleet.lab.chip("one"))
    first.kill()
"""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

from sqlalchemy import select
from sqlalchemy.orm import make_transient

from service.cli.worker import STARTED
from service.db.base import Base
from service.db.executor_tables import Executor
from service.db.session import Database
from service.db.tables import Job, Student, TargetSet, Teacher
from tests.integration.jobs_lab import Lab, Process, SeededLab, Service, copy_of, until
from tests.integration.traced_chip import Drive
from tests.postgres import Server, as_text

Started = TypeVar("Started", bound=Process)
QUICK: dict[str, str] = {  # s: death is noticed soon, also where other work shares the machine
    "TANDEMCAL_HEARTBEAT_S": "0.5",
    "TANDEMCAL_EXECUTOR_SILENCE_S": "4",
    "TANDEMCAL_LEASE_S": "4",
}
_SEEDED: tuple[type[Base], ...] = (Teacher, TargetSet, Job, Student)  # parents first


class Worker(Process):
    """One that runs jobs."""

    def __init__(self, lab: Lab, name: str, **environment: str) -> None:
        environment = {"TANDEMCAL_EXECUTOR_ID": name, "TANDEMCAL_LOG_JSON": "true"} | environment
        super().__init__(lab, name, "worker", **environment)
        self.name = name

    def freeze(self) -> None:
        """It stands still, and does not know."""
        self.process.send_signal(signal.SIGSTOP)

    def wake(self) -> None:
        """It goes on, as if no time had passed."""
        self.process.send_signal(signal.SIGCONT)


class Fleet:
    """Starts processes on one lab, and ends those that are left."""

    def __init__(self, lab: Lab, **environment: str) -> None:
        self.lab = lab
        self._environment = QUICK | environment
        self._processes: list[Process] = []

    def api(self, **environment: str) -> Service:
        """Answers requests; runs nothing."""
        return self._kept(Service(self.lab, "api", **self._environment | environment))

    def worker(self, name: str, **environment: str) -> Worker:
        """Runs jobs under this name, from now on."""
        worker = self.starting_worker(name, **environment)
        worker.said(STARTED)
        return worker

    def starting_worker(self, name: str, **environment: str) -> Worker:
        """Several start sooner together."""
        return self._kept(Worker(self.lab, name, **self._environment | environment))

    def executors(self) -> set[str]:
        """Those that say they live."""
        with self.lab.database.reading() as session:
            return set(session.scalars(select(Executor.id)))

    def two_workers(self) -> dict[str, Worker]:
        """By their names, both alive."""
        workers = {name: self.starting_worker(name) for name in ("first", "second")}
        until(lambda: set(workers) <= self.executors(), "both live")
        return workers

    def driver(self, job_id: str) -> str:
        """The executor that runs the job, once it has kept a few steps."""
        until(lambda: (self.lab.job(job_id).checkpoint_step or 0) >= 2, "a few steps are kept")
        return str(self.lab.job(job_id).executor_id)

    def close(self) -> None:
        for process in self._processes:
            if process.process.poll() is None:
                process.process.send_signal(signal.SIGCONT)
                process.kill()

    def _kept(self, process: Started) -> Started:
        self._processes.append(process)
        return process


@contextmanager
def a_fleet(
    server: Server, template: str, seeded: SeededLab, root: Path, **environment: str
) -> Iterator[Fleet]:
    """A database of its own, with what the seeded lab holds."""
    copy_of(seeded, root)
    url = server.create(template)
    lab = Lab(root, seeded, as_text(url))
    copy_rows(root, lab.database)
    fleet = Fleet(lab, **environment)
    try:
        yield fleet
    finally:
        fleet.close()
        lab.close()
        server.drop(url)


def overlaps(drives: list[Drive]) -> bool:
    """Did two processes drive one chip at the same time?"""
    spans: dict[tuple[str, int], tuple[float, float]] = {}
    for drive in drives:
        began, ended = spans.get((drive.chip_id, drive.pid), (drive.began, drive.ended))
        span = (min(began, drive.began), max(ended, drive.ended))
        spans[drive.chip_id, drive.pid] = span
    turns = sorted((chip, *span) for (chip, _), span in spans.items())
    return any(one[0] == two[0] and two[1] < one[2] for one, two in pairwise(turns))


def is_alive(pid: int) -> bool:
    """A process that does something, or could."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def no_orphan(drives: list[Drive]) -> bool:
    """Has every process ended that drove a chip?"""
    return not any(is_alive(pid) for pid in {drive.pid for drive in drives} if pid != os.getpid())


def copy_rows(root: Path, target: Database) -> None:
    source = Database(f"sqlite:///{root / 'tandemcal.sqlite'}")
    with source.reading() as reader, target.writing() as writer:
        for table in _SEEDED:
            for row in reader.scalars(select(table)).all():
                reader.expunge(row)
                make_transient(row)
                writer.add(row)
            writer.flush()
    source.close()
