"""What happened in a soak: what was lost, and what grew."""

import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from sqlalchemy import func, select

from benchmarks.fleet.local_fleet import LocalFleet
from benchmarks.job_latency import DIGITS, Workload
from service.db.tables import Event, Job

GROWTH, GROWTH_MIB, MORE_DESCRIPTORS = 1.05, 8.0, 4  # last quarter against the third one


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


class Sample(NamedTuple):
    """What one process held at one moment."""

    at_s: float
    process: str
    mib: float
    descriptors: int


class Record:
    """What happened."""

    def __init__(self) -> None:
        self.jobs: list[str] = []
        self.samples: list[Sample] = []
        self.polled: list[float] = []  # s
        self.answers: Counter[str] = Counter()
        self.followed: Counter[str] = Counter()  # how streams of events ended
        self.kills = 0


def lost_jobs(fleet: LocalFleet, record: Record) -> dict[str, int]:
    """Count jobs that did not succeed, that are missing, and ends that are not there once."""
    with fleet.database.reading() as session:
        mine = Job.id.in_(record.jobs)
        counted = session.execute(select(Job.status, func.count()).where(mine).group_by(Job.status))
        statuses = {str(status): number for status, number in counted}
        ends = select(Event.job_id, func.count()).where(Event.type == "job.ended")
        found = session.execute(ends.where(Event.job_id.in_(record.jobs)).group_by(Event.job_id))
        ended = {str(job): int(number) for job, number in found}
    return {
        "not succeeded": sum(statuses.values()) - statuses.get("succeeded", 0),
        "missing": len(record.jobs) - sum(statuses.values()),
        "ended not once": sum(ended.get(job, 0) != 1 for job in record.jobs),
    }


def report(extent: Extent, record: Record, lost: Mapping[str, int]) -> dict[str, Any]:
    held = {
        name: growth(extent, [one for one in record.samples if one.process == name])
        for name in sorted({one.process for one in record.samples})
    }
    p50, p99 = np.percentile(record.polled, [50, 99]) * 1000
    found: dict[str, Any] = {
        "seconds": extent.seconds,
        "jobs": len(record.jobs),
        "kills": record.kills,
        "lost": dict(lost),
        "polls": dict(record.answers),
        "poll_p50_ms": float(p50),
        "poll_p99_ms": float(p99),
        "streams": dict(record.followed),
        "held": held,
    }
    return found | {"missed": missed_by(found)}


def growth(extent: Extent, samples: Sequence[Sample]) -> dict[str, float]:
    """Compare what a process held in the last quarter of the time with the quarter before."""

    def middle(values: Iterable[float]) -> float:
        return statistics.median([*values] or [float("nan")])

    third = [one for one in samples if 0.5 <= one.at_s / extent.seconds < 0.75]
    last = [one for one in samples if one.at_s / extent.seconds >= 0.75]
    return {
        "mib_before": middle(one.mib for one in third),
        "mib": middle(one.mib for one in last),
        "descriptors_before": middle(one.descriptors for one in third),
        "descriptors": middle(one.descriptors for one in last),
    }


def missed_by(found: Mapping[str, Any]) -> list[str]:
    """Return what was lost and what grew, in words."""
    missed = [f"{number} jobs {what}" for what, number in found["lost"].items() if number]
    missed += [f"{n} streams: {how}" for how, n in found["streams"].items() if how != "whole"]
    missed += [f"{n} polls: {how}" for how, n in found["polls"].items() if how != "200"]
    for name, held in found["held"].items():
        if held["mib"] > GROWTH * held["mib_before"] + GROWTH_MIB:
            missed.append(f"memory of {name} grew to {held['mib']:.0f} MiB")
        if held["descriptors"] > held["descriptors_before"] + MORE_DESCRIPTORS:
            missed.append(f"descriptors of {name} grew to {held['descriptors']:.0f}")
    return missed
