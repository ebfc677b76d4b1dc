"""Metrics for Prometheus: jobs, waits, leases, chips, workers and the database.

Every value is read from the database at the scrape, so any process that reaches the database can
answer. Counters start from the rows at the first scrape and grow by the events since; each known
label has one from the beginning, so that its first job is a rise, which `rate` counts.
"""

import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from itertools import product

import structlog
from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from service.db.isolation import isolated
from service.db.repositories.metrics import JobEvent, MetricsRepository
from service.db.session import Database, clock
from service.db.tables import Chip, Job
from service.states import TERMINAL, JobStatus

_WAITS = (0.5, 1, 2, 5, 10, 30, 60, 300, 1800, 7200)  # s
_LEFT_OUT = "metrics: some of them cannot be read, they are left out of this scrape"
_log = structlog.get_logger(__name__)
_FRACTIONS = (0.0, 0.25, 0.5, 0.75, 0.9, 0.95, 1.0)


def make_registry(database: Database, kinds: Iterable[str]) -> CollectorRegistry:
    """Create the metrics registry of a process that answers `/metrics`, for jobs of these kinds."""
    registry = CollectorRegistry()
    registry.register(FleetCollector(database, kinds))
    return registry


class FleetCollector(Collector):
    """Reads the metrics from the database at each scrape."""

    def __init__(self, database: Database, kinds: Iterable[str]) -> None:
        self._database = database
        self._kinds = tuple(kinds)
        self._scraping = threading.Lock()
        self._seen: int | None = None  # the last event that was counted
        self._ended: dict[tuple[str, str], int] = {}
        self._reported: set[tuple[str, str]] = set()  # rows that could not be read at the last one
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
        for kind in self._kinds:
            self._waits.labels(kind)
            self._durations.labels(kind)

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
        parts: Mapping[str, Callable[[], Iterable[Metric]]] = {
            "ended jobs": lambda: self._job_metrics(repository),
            "open jobs": lambda: _open_jobs(repository, now),
            "chips": lambda: _chips(repository),
            "leases": lambda: _leases(repository, now),
            "workers": lambda: [_silence("executor", "a worker", repository.executors(), now)],
            "agents": lambda: [_silence("agent", "a chip's agent", repository.agents(), now)],
            "calls": lambda: [_call_times(repository)],
        }
        for name, read in parts.items():
            found: list[Metric] = []
            with isolated(session, _LEFT_OUT, metrics=name):
                found = list(read())
            yield from found
        yield self._unreadable(repository)

    def _job_metrics(self, repository: MetricsRepository) -> Iterator[Metric]:
        self._catch_up(repository)
        yield self._ended_jobs()
        yield from self._waits.collect()
        yield from self._durations.collect()
        yield from self._recovered.collect()

    def _unreadable(self, repository: MetricsRepository) -> Metric:
        """Count the rows that could not be read, and log those that are new."""
        policies = {("policies", chip) for chip in repository.unreadable_policies()}
        found = repository.unreadable | policies
        for table, id in sorted(repository.unreadable - self._reported):
            _log.error("metrics: a row cannot be read, it is left out", table=table, id=id)
        self._reported = repository.unreadable
        family = GaugeMetricFamily(
            "tandemcal_unreadable_rows",
            "Rows that hold what cannot be read, and are left out",
            labels=("table",),
        )
        for table, rows in sorted(Counter(table for table, _ in found).items()):
            family.add_metric((table,), rows)
        return family

    def _catch_up(self, repository: MetricsRepository) -> None:
        last = repository.last_event()
        if self._seen is None:
            known = product(self._kinds, sorted(TERMINAL))
            self._ended = dict.fromkeys(known, 0) | repository.ended_jobs()
        else:
            for job_event in repository.job_events(self._seen, last):
                with repository.apart(Job, job_event.job.id):
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
        if fraction is not None and math.isfinite(fraction):
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
        health_word = str(chip.health)
        counts[health_word] = counts.get(health_word, 0) + 1
        with repository.apart(Chip, chip.id):
            figures = _figures(chip)
            for family, value in zip((accuracy, drift, loss, valid), figures, strict=True):
                if value is not None:
                    family.add_metric((chip.name,), float(value))
    for name, chips in sorted(counts.items()):
        health.add_metric((name,), chips)
    yield health
    yield accuracy
    yield drift
    yield loss
    yield valid


def _figures(chip: Chip) -> tuple[float | None, ...]:
    """Return accuracy, drift score, predicted loss in points, and the end of the validity."""
    return (
        chip.accuracy,
        chip.drift_score,
        None if chip.predicted_loss is None else chip.predicted_loss["points"],
        None if chip.valid_until is None else chip.valid_until.timestamp(),
    )


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
