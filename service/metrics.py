"""Metrics for Prometheus: jobs, waits, leases, chips, workers and the database.

Every value is read from the database at the scrape, so any process that reaches the database can
answer. Counters start from the rows at the first scrape and grow by the events since.
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
    """Create the metrics registry of a process that answers `/metrics`."""
    registry = CollectorRegistry()
    registry.register(FleetCollector(database))
    return registry


class FleetCollector(Collector):
    """Reads the metrics from the database at each scrape."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._scraping = threading.Lock()
        self._seen: int | None = None  # the last event that was counted
        self._ended: dict[tuple[str, str], int] = {}
        self._waits = Histogram(
            "tandemcal_job_wait_seconds",
            "Time from the request to the first start",
            ("kind",),
            registry=None,
            buckets=_WAITS,
        )
        self._durations = Histogram(
            "tandemcal_job_seconds",
            "Time from the first start to the end",
            ("kind",),
            registry=None,
            buckets=_WAITS,
        )
        self._recovered = Histogram(
            "tandemcal_recovered_fraction",
            "Fraction of the lost accuracy that a calibration recovered",
            registry=None,
            buckets=_FRACTIONS,
        )

    def describe(self) -> Iterable[Metric]:
        """Return nothing, so that the database is not asked before the first scrape."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Yield all metrics; if the database does not answer, only that it is down."""
        with self._scraping:
            began = time.perf_counter()
            try:
                with self._database.reading() as session:
                    found = list(self._found(session))
            except SQLAlchemyError:
                found = []
            took = time.perf_counter() - began
        yield _gauge("tandemcal_database_up", "Whether the database answers", float(bool(found)))
        yield _gauge(
            "tandemcal_database_scrape_seconds", "Duration of the queries of this scrape", took
        )
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
            for job_event in repository.job_events(self._seen, last):
                self._count(job_event)
        self._seen = last

    def _count(self, job_event: JobEvent) -> None:
        job = job_event.job
        if job_event.type == "job.started":
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
        "tandemcal_queue_oldest_seconds",
        "How long the oldest queued job has waited",
        labels=("kind",),
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
        "tandemcal_chip_accuracy", "Accuracy in the last measurement", labels=("chip",)
    )
    drift = GaugeMetricFamily(
        "tandemcal_chip_drift_score", "Drift score of the last probe", labels=("chip",)
    )
    loss = GaugeMetricFamily(
        "tandemcal_chip_predicted_loss_points",
        "Accuracy that the chip is predicted to have lost since publication, in points",
        labels=("chip",),
    )
    valid = GaugeMetricFamily(
        "tandemcal_chip_valid_until_timestamp_seconds",
        "When the weights in force may have lost a point of accuracy",
        labels=("chip",),
    )
    counts: dict[str, int] = {}
    for chip in repository.chips():
        counts[chip.health] = counts.get(chip.health, 0) + 1
        if chip.accuracy is not None:
            accuracy.add_metric((chip.name,), chip.accuracy)
        if chip.drift_score is not None:
            drift.add_metric((chip.name,), chip.drift_score)
        if chip.predicted_loss is not None:
            loss.add_metric((chip.name,), chip.predicted_loss["points"])
        if chip.valid_until is not None:
            valid.add_metric((chip.name,), chip.valid_until.timestamp())
    for name, chips in sorted(counts.items()):
        health.add_metric((name,), chips)
    yield health
    yield accuracy
    yield drift
    yield loss
    yield valid


def _leases(repository: MetricsRepository, now: datetime) -> Iterator[Metric]:
    held = GaugeMetricFamily(
        "tandemcal_lease_held_seconds",
        "Time since the job that holds the lease started",
        labels=("chip",),
    )
    left = GaugeMetricFamily(
        "tandemcal_lease_left_seconds",
        "Time until the lease expires; negative if it was not renewed",
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
        "Mean duration of a call of a chip's agent, in the last attempt that drove the chip",
        labels=("agent", "verb"),
    )
    for (agent, verb), seconds in sorted(repository.call_times().items()):
        family.add_metric((agent, verb), seconds)
    return family


def _silence(label: str, who: str, heard: Mapping[str, datetime], now: datetime) -> Metric:
    family = GaugeMetricFamily(
        f"tandemcal_{label}_silence_seconds",
        f"Time since the last heartbeat of {who}",
        labels=(label,),
    )
    for name, then in sorted(heard.items()):
        family.add_metric((name,), (now - then).total_seconds())
    return family


def _gauge(name: str, documentation: str, value: float) -> Metric:
    return GaugeMetricFamily(name, documentation, value=value)
