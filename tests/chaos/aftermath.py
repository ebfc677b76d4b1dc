"""What a storm left: rows, what readers saw, and what the agents did."""

import logging
import time
from collections import Counter
from datetime import timedelta
from typing import NamedTuple

from service.bench.agent.call_log import LoggedCall, read_calls
from service.db.tables import Event, Job, WeightVersion
from service.jobs.queue.dbos_queue import DbosQueue
from service.states import TERMINAL
from tests.chaos.reader import Reader
from tests.chaos.storm import Scale, Wish, blows, wishes
from tests.chaos.town import Town, storming
from tests.integration.jobs_lab import until

_LOG = logging.getLogger("storm")


class After(NamedTuple):
    """Everything that is asked about afterwards."""

    asked: list[Wish]
    jobs: list[Job]
    events: list[Event]
    versions: list[WeightVersion]
    chips: dict[str, str]  # ids by name
    holders: list[str]
    calls: list[LoggedCall]
    readers: list[Reader]

    def told(self, job_id: str) -> list[Event]:
        """What was told of one job, in the order of the numbers."""
        return [event for event in self.events if event.job_id == job_id]


def ride_out(town: Town, seed: int, scale: Scale) -> After:
    """Ask for jobs while it storms, and wait until the last has ended."""
    asked = wishes(seed, scale)
    with storming(town, blows(seed, scale)) as began:
        ids, readers = _ask(town, asked, began, len(asked) // scale.followed)

    def over() -> bool:
        return all(job.status in TERMINAL for job in town.jobs(ids))

    until(over, "every job has ended", scale.patience)
    until(lambda: not holders(town), "every chip is free", scale.patience)
    until(lambda: not _open_turns(town), "the engine has nothing left", scale.patience)
    for reader in readers:
        reader.wait(scale.patience)
    after = After(
        asked,
        town.jobs(ids),
        town.events(),
        town.versions(),
        town.chips(),
        holders(town),
        read_calls(town.calls),
        readers,
    )
    _LOG.info("%s in %.0f s", summary(after), time.monotonic() - began)
    return after


def holders(town: Town) -> list[str]:
    return [str(lease.holder) for lease in town.leases() if lease.holder is not None]


def summary(after: After) -> str:
    """In one line, for whoever watches."""
    ended = Counter(str(job.status) for job in after.jobs)
    attempts = Counter(job.attempt for job in after.jobs)
    types = Counter(event.type for event in after.events)
    lost = {name: types[name] for name in ("job.interrupted", "lease.lost", "job.waiting")}
    return (
        f"jobs {dict(ended)}, by attempts {dict(sorted(attempts.items()))}, {lost}, "
        f"{len(after.events)} events, {len(after.versions)} versions, {len(after.calls)} calls, "
        f"readers came back {sum(reader.reopened for reader in after.readers)} times"
    )


def _ask(town: Town, asked: list[Wish], began: float, every: int) -> tuple[list[str], list[Reader]]:
    """Each wish at its time; of some jobs somebody reads the events."""
    ids: list[str] = []
    readers: list[Reader] = []
    for number, wish in enumerate(asked):
        time.sleep(max(0.0, began + wish.at - time.monotonic()))
        ids.append(town.ask_for(wish, f"wish {number}"))
        if number % every == 0:
            readers.append(town.reader(ids[-1]))
    return ids, readers


def _open_turns(town: Town) -> int:
    queue = DbosQueue(town.lab.database, timedelta(seconds=60))
    try:
        return len(queue.claimed())
    finally:
        queue.close()
