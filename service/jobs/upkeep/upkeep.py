"""What is done for the fleet without being asked: plans for chips that are due, and forgetting."""

import threading
import time
from datetime import timedelta

import structlog

from service.artifacts import ArtifactStore
from service.db.outage import AWAY
from service.db.session import Database
from service.jobs.engine import JobEngine
from service.jobs.periodic import Duty
from service.jobs.upkeep.orphan_blocks import Sweep
from service.jobs.upkeep.planner import Planner
from service.jobs.upkeep.retention import Keep, Retention, Turns
from service.logs import warn_in_a_line
from service.settings import Settings

_FORGETTING = 60.0  # s between two looks for what has grown old, where the last one found nothing
_SWEEPING = 3600.0  # s between two looks for blocks that nothing names


class Upkeep:
    """A thread of every process that runs jobs; locks let one of them work at a time."""

    def __init__(
        self, settings: Settings, database: Database, engine: JobEngine, turns: Turns
    ) -> None:
        artifacts = ArtifactStore(settings.artifacts_dir)
        self._interval = settings.planner_s
        self._planner = Planner(database, engine, settings.planner_jobs)
        self._retention = Retention(database, artifacts, turns, keep(settings))
        self._sweep = Duty(Sweep(database, artifacts).remove_orphans, _SWEEPING)
        self._next_forgetting = 0.0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="upkeep", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        if self._thread.is_alive():
            self._stopping.set()
            self._thread.join()

    def look(self) -> None:
        """Once. An error, such as a database that is away, is told and forgotten."""
        try:
            self._planner.plan()
            self._forget()
            self._sweep.look()
        except AWAY as error:
            warn_in_a_line(__name__, "the fleet was not kept up", error)
        except Exception:
            structlog.get_logger(__name__).warning("the fleet was not kept up", exc_info=True)

    def _forget(self) -> None:
        if time.monotonic() >= self._next_forgetting and self._retention.forget() == 0:
            self._next_forgetting = time.monotonic() + _FORGETTING

    def _run(self) -> None:
        while not self._stopping.wait(self._interval):
            self.look()


def keep(settings: Settings) -> Keep:
    """How long, as the settings say."""
    return Keep(
        progress=timedelta(days=settings.keep_progress_days),
        logs=timedelta(days=settings.keep_logs_days),
        checkpoints=timedelta(days=settings.keep_checkpoints_days),
        turns=timedelta(days=settings.keep_turns_days),
    )
