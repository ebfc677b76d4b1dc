"""What happened in a soak: what was lost, and what grew."""

import math
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from sqlalchemy import select

from benchmarks.fleet.local_fleet import LocalFleet
from benchmarks.job_latency import DIGITS, Workload
from service.db.tables import Event, Job
from service.states import TERMINAL

GROWTH, GROWTH_MIB, MORE_HANDLES = 1.05, 8.0, 4  # last quarter against the third one
WORKERS = ("first", "second")
PROCESSES = ("api", "postgresql", *WORKERS)
POLLS_MADE = 0.9  # of those that are due
_LEAST = 2  # samples in a quarter


class Extent(NamedTuple):
    """How long, and how much."""

    seconds: float
    jobs: int
    listeners: int = 50
    polls_a_second: float = 50.0
    kill_every_s: float = 300.0
    sample_every_s: float = 5.0
    chips: int = 12
    samples: int = 256  # of a job
    workload: Workload = DIGITS
    end_within_s: float = 300.0  # after the time: jobs and streams that have not ended are missed

    @property
    def kills(self) -> int:
        """Number of kills that fall into the time."""
        return max(0, math.ceil(self.seconds / self.kill_every_s) - 1)


class Sample(NamedTuple):
    """What one process held at one moment."""

    at_s: float
    process: str
    pid: int
    mib: float
    handles: int  # descriptors; of PostgreSQL its processes, which are one a session


class Record:
    """What happened."""

    def __init__(self) -> None:
        self.jobs: list[str] = []
        self.samples: list[Sample] = []
        self.polled: list[float] = []  # s
        self.answers: Counter[str] = Counter()
        self.streams: dict[str, list[int]] = {}  # numbers of the events that came, by job
        self.failures: Counter[str] = Counter()  # what the load itself could not do
        self.kills = 0


class Stored(NamedTuple):
    """What the database knows of the jobs when the soak is over."""

    statuses: Mapping[str, str]
    events: Mapping[str, list[int]]  # numbers, by job
    ends: Mapping[str, int]  # events `job.ended`, by job
    waited: Sequence[float]  # s from a job's request to its start
    ran: Sequence[float]  # s from its start to its end


def stored(fleet: LocalFleet, record: Record) -> Stored:
    """Read the jobs and their events."""
    events: dict[str, list[int]] = {}
    ends: Counter[str] = Counter()
    with fleet.database.reading() as session:
        jobs = session.scalars(select(Job).where(Job.id.in_(record.jobs))).all()
        rows = select(Event.job_id, Event.seq, Event.type).where(Event.job_id.in_(record.jobs))
        for job, seq, kind in session.execute(rows.order_by(Event.seq)):
            events.setdefault(str(job), []).append(seq)
            ends[str(job)] += kind == "job.ended"
    began = [job for job in jobs if job.started_at is not None]
    return Stored(
        {job.id: str(job.status) for job in jobs},
        events,
        ends,
        [(job.started_at - job.created_at).total_seconds() for job in began if job.started_at],
        [
            (job.ended_at - job.started_at).total_seconds()
            for job in began
            if job.started_at and job.ended_at
        ],
    )


def lost_jobs(record: Record, known: Stored) -> dict[str, int]:
    """Count jobs that did not succeed, that are missing, and ends that are not there once."""
    statuses = Counter(known.statuses.values())
    unended = sum(number for status, number in statuses.items() if status not in TERMINAL)
    return {
        "not ended": unended,
        "not succeeded": len(known.statuses) - statuses["succeeded"] - unended,
        "missing": len(record.jobs) - len(known.statuses),
        "ended not once": sum(known.ends.get(job, 0) > 1 for job in record.jobs)
        + sum(
            known.ends.get(job, 0) == 0
            for job, status in known.statuses.items()
            if status in TERMINAL
        ),
    }


def streams(record: Record, known: Stored) -> dict[str, int]:
    """Compare the events that listeners received with those that the database has."""
    found: Counter[str] = Counter()
    for job in record.jobs:
        seen, sent = record.streams.get(job), known.events.get(job, [])
        if seen is None:
            found["not ended"] += 1
        elif seen == sent:
            found["whole"] += 1
        else:
            found["doubled" if len(set(seen)) < len(seen) else "with gaps"] += 1
    return dict(found)


def report(extent: Extent, record: Record, known: Stored) -> dict[str, Any]:
    """Return every figure, and in words what was missed."""
    held = {
        name: growth([one for one in record.samples if one.process == name])
        for name in sorted({*PROCESSES, *(one.process for one in record.samples)})
    }
    found: dict[str, Any] = {
        "seconds": extent.seconds,
        "jobs": len(record.jobs),
        "kills": record.kills,
        "lost": lost_jobs(record, known),
        "polls": dict(record.answers),
        "poll_ms": _spread(record.polled, 1000),
        "streams": streams(record, known),
        "failures": dict(record.failures),
        "job_waited_s": _spread(known.waited),
        "job_ran_s": _spread(known.ran),
        "held": held,
        "samples": record.samples,
    }
    return found | {"missed": missed_by(extent, found)}


def _spread(values: Sequence[float], unit: float = 1.0) -> dict[str, float] | None:
    if not values:
        return None
    p50, p99 = np.percentile(values, [50, 99]) * unit
    return {"p50": float(p50), "p99": float(p99), "worst": max(values) * unit}


def growth(samples: Sequence[Sample]) -> dict[str, float] | None:
    """Compare what a process held in the last quarter of its life with the quarter before.

    A worker that was killed and started again has several lives: processes of unequal age hold
    unequal amounts, so each life is compared with itself. Return the largest growth of memory and
    of descriptors, or None where no life has two samples in each of these quarters.
    """
    lives: dict[int, list[Sample]] = {}
    for one in samples:
        lives.setdefault(one.pid, []).append(one)
    compared = [held for life in lives.values() if (held := _halves(life)) is not None]
    return {**_largest(compared, "mib"), **_largest(compared, "handles")} if compared else None


def _largest(compared: Sequence[Mapping[str, float]], what: str) -> dict[str, float]:
    before = f"{what}_before"
    worst = max(compared, key=lambda one: one[what] - one[before])
    return {before: worst[before], what: worst[what]}


def _halves(life: Sequence[Sample]) -> dict[str, float] | None:
    began, lasted = life[0].at_s, life[-1].at_s - life[0].at_s
    third = [one for one in life if 0.5 <= (one.at_s - began) / (lasted or 1.0) < 0.75]
    last = [one for one in life if (one.at_s - began) / (lasted or 1.0) >= 0.75]
    if min(len(third), len(last)) < _LEAST:
        return None
    return {
        "mib_before": statistics.median(one.mib for one in third),
        "mib": statistics.median(one.mib for one in last),
        "handles_before": statistics.median(one.handles for one in third),
        "handles": statistics.median(one.handles for one in last),
    }


def missed_by(extent: Extent, found: Mapping[str, Any]) -> list[str]:
    """Return what was lost, what grew and what was not measured, in words."""
    missed = [f"{number} jobs {what}" for what, number in found["lost"].items() if number]
    missed += [f"{n} streams: {how}" for how, n in found["streams"].items() if how != "whole"]
    missed += [f"{n} polls: {how}" for how, n in found["polls"].items() if how != "200"]
    missed += [f"{n} times: {what}" for what, n in found["failures"].items()]
    missed += [
        f"{found[what]} of {asked} {what} took place"
        for what, asked in (("jobs", extent.jobs), ("kills", extent.kills))
        if found[what] < asked
    ]
    polls, due = sum(found["polls"].values()), extent.polls_a_second * extent.seconds
    if polls < POLLS_MADE * due:  # they begin with the first job
        missed.append(f"{polls} of {due:.0f} polls took place")
    return missed + [line for name, held in found["held"].items() for line in _grown(name, held)]


def _grown(name: str, held: Mapping[str, float] | None) -> list[str]:
    if held is None:
        return [f"{name} was not sampled long enough to tell whether it grows"]
    grown = []
    if held["mib"] > GROWTH * held["mib_before"] + GROWTH_MIB:
        grown.append(f"memory of {name} grew to {held['mib']:.0f} MiB")
    if held["handles"] > held["handles_before"] + MORE_HANDLES:
        grown.append(f"descriptors of {name} grew to {held['handles']:.0f}")
    return grown
