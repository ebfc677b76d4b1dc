"""What is there after the faults: rows, events as they were read, calls of the agents."""

import logging
import time
from collections import Counter
from datetime import timedelta
from typing import NamedTuple

from service.bench.agent.call_log import LoggedCall, read_calls
from service.db.tables import Event, Job, WeightVersion
from service.jobs.queue.dbos_queue import DbosQueue
from service.states import TERMINAL
from tests.chaos.fault_schedule import JobRequest, Scale, fault_schedule, job_requests
from tests.chaos.fleet_under_test import FleetUnderTest, injecting
from tests.chaos.reader import Reader
from tests.integration.jobs_lab import until

_LOG = logging.getLogger("chaos")


class Outcome(NamedTuple):
    """Everything that the tests ask about afterwards."""

    asked: list[JobRequest]
    jobs: list[Job]
    events: list[Event]
    versions: list[WeightVersion]
    chips: dict[str, str]  # ids by name
    holders: list[str]
    calls: list[LoggedCall]
    readers: list[Reader]
    filled: int  # how often the disk had no byte left
    disk_can_be_filled: bool

    def events_of(self, job_id: str) -> list[Event]:
        """Events of one job, by their numbers."""
        return [event for event in self.events if event.job_id == job_id]


def run_schedule(fleet: FleetUnderTest, seed: int, scale: Scale) -> Outcome:
    """Submit jobs while faults are injected, and wait until the last job has ended."""
    asked = job_requests(seed, scale)
    with injecting(fleet, fault_schedule(seed, scale)) as began:
        ids, readers = _submit(fleet, asked, began, len(asked) // scale.followed)

    def over() -> bool:
        return all(job.status in TERMINAL for job in fleet.jobs(ids))

    until(over, "every job has ended", scale.timeout)
    until(lambda: not holders(fleet), "every chip is free", scale.timeout)
    until(lambda: not _open_dispatches(fleet), "the engine has nothing left", scale.timeout)
    for reader in readers:
        reader.wait(scale.timeout)
    after = Outcome(
        asked,
        fleet.jobs(ids),
        fleet.events(),
        fleet.versions(),
        fleet.chips(),
        holders(fleet),
        read_calls(fleet.calls),
        readers,
        fleet.disk.filled,
        fleet.disk.can_be_filled,
    )
    _LOG.info("%s in %.0f s", summary(after), time.monotonic() - began)
    return after


def holders(fleet: FleetUnderTest) -> list[str]:
    return [str(lease.holder) for lease in fleet.leases() if lease.holder is not None]


def summary(after: Outcome) -> str:
    """Sum up in one line for the log."""
    ended = Counter(str(job.status) for job in after.jobs)
    attempts = Counter(job.attempt for job in after.jobs)
    types = Counter(event.type for event in after.events)
    lost = {name: types[name] for name in ("job.interrupted", "lease.lost", "job.waiting")}
    return (
        f"jobs {dict(ended)}, by attempts {dict(sorted(attempts.items()))}, {lost}, "
        f"{len(after.events)} events, {len(after.versions)} versions, {len(after.calls)} calls, "
        f"readers came back {sum(reader.reopened for reader in after.readers)} times"
    )


def _submit(
    fleet: FleetUnderTest, asked: list[JobRequest], began: float, every: int
) -> tuple[list[str], list[Reader]]:
    """Submit each job at its time; read the events of every `every`-th."""
    ids: list[str] = []
    readers: list[Reader] = []
    for number, request in enumerate(asked):
        time.sleep(max(0.0, began + request.at - time.monotonic()))
        ids.append(fleet.submit(request, f"request {number}"))
        if number % every == 0:
            readers.append(fleet.reader(ids[-1]))
    return ids, readers


def _open_dispatches(fleet: FleetUnderTest) -> int:
    queue = DbosQueue(fleet.lab.database, timedelta(seconds=60))
    try:
        return len(queue.taken())
    finally:
        queue.close()
