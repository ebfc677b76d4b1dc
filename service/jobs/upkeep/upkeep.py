"""Upkeep of the fleet: plans for chips that are due, retention, the sweep of orphan blocks."""

import threading
import time
from datetime import timedelta

from service.artifacts import ArtifactStore
from service.db.outage import AWAY
from service.db.session import Database
from service.jobs.engine import JobEngine
from service.jobs.kinds.memory import limit_of
from service.jobs.periodic import PeriodicTask, apart
from service.jobs.upkeep.planner import Planner
from service.jobs.upkeep.retention import DispatchHistory, OrphanSweep, Retention, RetentionPeriods
from service.logs import warn_in_a_line
from service.settings import Settings

_RETENTION_INTERVAL = 60.0  # s between two looks for old rows, where the last one found none
_SWEEP_INTERVAL = 3600.0  # s between two looks for blocks that nothing names
_AWAY = "upkeep failed, chips are not planned for and old rows stay until the next look"
_NOT_PLANNED = "upkeep failed, chips are not planned for until the next look"
_NOT_FORGOTTEN = "upkeep failed, old rows stay until the next look"
_NOT_SWEPT = "upkeep failed, blocks that nothing names stay until the next look"


class Upkeep:
    """A thread of every process that runs jobs; locks in the database let one work at a time."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        engine: JobEngine,
        dispatches: DispatchHistory,
    ) -> None:
        artifacts = ArtifactStore(settings.artifacts_dir)
        self._interval = settings.planner_s
        self._planner = Planner(database, engine, settings.planner_jobs, limit_of(settings))
        self._retention = Retention(database, artifacts, dispatches, retention_periods(settings))
        self._sweeps = [
            PeriodicTask(OrphanSweep(database, artifacts).remove_orphans, _SWEEP_INTERVAL),
            PeriodicTask(artifacts.delete_abandoned_uploads, _SWEEP_INTERVAL),
        ]
        self._next_forgetting = 0.0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="upkeep", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Stop the thread, if it was started, and wait for its end."""
        if self._thread.is_alive():
            self._stopping.set()
            self._thread.join()

    def run_once(self) -> None:
        """Do everything that is due. An error, such as a database that is away, is logged."""
        try:
            apart(self._planner.plan, _NOT_PLANNED)
            self._forget()
            for sweep in self._sweeps:
                apart(sweep.run_if_due, _NOT_SWEPT)
        except AWAY as error:
            warn_in_a_line(__name__, _AWAY, error)

    def _forget(self) -> None:
        if time.monotonic() < self._next_forgetting:
            return
        if not apart(self._retention.forget, _NOT_FORGOTTEN):
            self._next_forgetting = time.monotonic() + _RETENTION_INTERVAL

    def _run(self) -> None:
        while not self._stopping.wait(self._interval):
            self.run_once()


def retention_periods(settings: Settings) -> RetentionPeriods:
    """Return how long things are kept, as the settings say."""
    return RetentionPeriods(
        progress=timedelta(days=settings.keep_progress_days),
        logs=timedelta(days=settings.keep_logs_days),
        checkpoints=timedelta(days=settings.keep_checkpoints_days),
        dispatches=timedelta(days=settings.keep_turns_days),
    )
