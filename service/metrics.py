"""What Prometheus is told: jobs, waits, leases, chips, workers and the database.

Everything is read from the database when it is asked for, so that any process that reaches it can
tell. Counters begin with what stands there and grow by the events since.
"""

import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime

from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from service.db.repositories.metrics import JobEvent, MetricsRepository
from service.db.session import Database, clock
from service.states import JobStatus

_WAITS = (0.5, 1, 2, 5, 10, 30, 60, 300, 1800, 7200)  # s
_FRACTIONS = (0.0, 0.25, 0.5, 0.75, 0.9, 0.95, 1.0)


def make_registry(database: Database) -> CollectorRegistry:
    """One for each process that answers `/metrics`."""
    registry = CollectorRegistry()
    registry.register(FleetCollector(database))
    return registry


class FleetCollector(Collector):
    """Asks the database at each scrape."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._scraping = threading.Lock()
        self._seen: int | None = None  # the last event that was counted
        self._ended: dict[tuple[str, str], int] = {}
        self._waits = Histogram(
            "tandemcal_job_wait_seconds",
            "From the request to the first start",
            ("kind",),
            registry=None,
            buckets=_WAITS,
        )
        self._durations = Histogram(
            "tandemcal_job_seconds",
            "From the first start to the end",
            ("kind",),
            registry=None,
            buckets=_WAITS,
        )
        self._recovered = Histogram(
            "tandemcal_recovered_fraction",
            "Of the accuracy that a chip had lost, what a calibration brought back",
            registry=None,
            buckets=_FRACTIONS,
        )

    def describe(self) -> Iterable[Metric]:
        """Nothing is asked of the database before the first scrape."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """All metrics; where the database does not answer, that alone."""
        with self._scraping:
            began = time.perf_counter()
            try:
                with self._database.reading() as session:
                    found = list(self._found(session))
            except SQLAlchemyError:
                found = []
            took = time.perf_counter() - began
        yield _gauge("tandemcal_database_up", "Whether the database answers", float(bool(found)))
        yield _gauge("tandemcal_database_scrape_seconds", "What these questions cost", took)
        yield from found

    def _found(self, session: Session) -> Iterator[Metric]:
        repository, now = MetricsRepository(session), clock(session)
        self._catch_up(repository)
        yield from _open_jobs(repository, now)
        yield self._ended_jobs()
        yield from self._waits.collect()
        yield from self._durations.collect()
        yield from self._recovered.collect()
        yield from _chips(repository)
        yield from _leases(repository, now)
        yield _silence("executor", "a worker", repository.executors(), now)
        yield _silence("agent", "a chip's agent", repository.agents(), now)
        yield _call_times(repository)

    def _catch_up(self, repository: MetricsRepository) -> None:
        last = repository.last_event()
        if self._seen is None:
            self._ended = repository.ended_jobs()
        else:
            for happened in repository.happened(self._seen, last):
                self._count(happened)
        self._seen = last

    def _count(self, happened: JobEvent) -> None:
        job = happened.job
        if happened.type == "job.started":
            if job.attempt == 1 and job.started_at is not None:
                waited = (job.started_at - job.created_at).total_seconds()
                self._waits.labels(job.kind).observe(max(0.0, waited))
            return
        key = (job.kind, job.status)
        self._ended[key] = self._ended.get(key, 0) + 1
        if job.started_at is not None and job.ended_at is not None:
            took = (job.ended_at - job.started_at).total_seconds()
            self._durations.labels(job.kind).observe(max(0.0, took))
        fraction = (job.result or {}).get("recovered_fraction")
        if fraction is not None:
            self._recovered.observe(fraction)

    def _ended_jobs(self) -> Metric:
        family = CounterMetricFamily(
            "tandemcal_jobs_ended", "Jobs that ended", labels=("kind", "status")
        )
        for (kind, status), jobs in sorted(self._ended.items()):
            family.add_metric((kind, status), jobs)
        return family


def _open_jobs(repository: MetricsRepository, now: datetime) -> Iterator[Metric]:
    labels = ("kind", "status")
    counts = GaugeMetricFamily("tandemcal_jobs_open", "Jobs that have not ended", labels=labels)
    oldest = GaugeMetricFamily(
        "tandemcal_queue_oldest_seconds", "How long the oldest waiting job waits", labels=("kind",)
    )
    for found in repository.open_jobs():
        counts.add_metric((found.kind, found.status), found.jobs)
        if found.status == JobStatus.QUEUED:
            oldest.add_metric((found.kind,), (now - found.oldest).total_seconds())
    yield counts
    yield oldest


def _chips(repository: MetricsRepository) -> Iterator[Metric]:
    health = GaugeMetricFamily("tandemcal_chips", "Chips by health", labels=("health",))
    accuracy = GaugeMetricFamily(
        "tandemcal_chip_accuracy", "As it was last measured", labels=("chip",)
    )
    drift = GaugeMetricFamily(
        "tandemcal_chip_drift_score", "As it was last probed", labels=("chip",)
    )
    counts: dict[str, int] = {}
    for chip in repository.chips():
        counts[chip.health] = counts.get(chip.health, 0) + 1
        if chip.accuracy is not None:
            accuracy.add_metric((chip.name,), chip.accuracy)
        if chip.drift_score is not None:
            drift.add_metric((chip.name,), chip.drift_score)
    for name, chips in sorted(counts.items()):
        health.add_metric((name,), chips)
    yield health
    yield accuracy
    yield drift


def _leases(repository: MetricsRepository, now: datetime) -> Iterator[Metric]:
    held = GaugeMetricFamily(
        "tandemcal_lease_held_seconds", "Since the job of the holder started", labels=("chip",)
    )
    left = GaugeMetricFamily(
        "tandemcal_lease_left_seconds",
        "Until the lease runs out; negative where nobody renewed it",
        labels=("chip",),
    )
    for lease in repository.leases():
        if lease.started_at is not None:
            held.add_metric((lease.chip,), (now - lease.started_at).total_seconds())
        left.add_metric((lease.chip,), (lease.expires_at - now).total_seconds())
    yield held
    yield left


def _call_times(repository: MetricsRepository) -> Metric:
    family = GaugeMetricFamily(
        "tandemcal_agent_call_seconds",
        "What a call of a chip's agent took, on the average of the attempt that drove it last",
        labels=("agent", "verb"),
    )
    for (agent, verb), seconds in sorted(repository.call_times().items()):
        family.add_metric((agent, verb), seconds)
    return family


def _silence(label: str, who: str, heard: Mapping[str, datetime], now: datetime) -> Metric:
    family = GaugeMetricFamily(
        f"tandemcal_{label}_silence_seconds", f"Since {who} was last heard of", labels=(label,)
    )
    for name, then in sorted(heard.items()):
        family.add_metric((name,), (now - then).total_seconds())
    return family


def _gauge(name: str, documentation: str, value: float) -> Metric:
    return GaugeMetricFamily(name, documentation, value=value)
