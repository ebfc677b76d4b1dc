"""`tandemcal worker`: runs jobs in this process, without serving requests."""

import signal
import threading

import structlog

from service.cli.environment import read_settings
from service.db.migrate import upgrade
from service.db.session import Database, wait_for
from service.jobs.queue.dbos_engine import ExecutingEngine
from service.logs import configure_logging
from service.private_files import keep_private

STARTED = "worker: started, it runs jobs"  # the log line that others wait for


def work() -> None:
    """Run jobs until a signal ends the process.

    Raises ExecutorRunningError and ExecutorNameTakenError.
    """
    settings = read_settings()
    configure_logging(settings.log_level, as_json=settings.log_json)
    keep_private(settings.data_dir)
    stopping = _stop_requested()
    wait_for(settings.database, settings.database_wait_s)
    upgrade(settings.database)
    database = Database(settings.database)
    executor = ExecutingEngine(settings, database)
    log = structlog.get_logger(__name__)
    try:
        executor.launch()
        log.info(STARTED, executor=executor.name, slots=settings.parallel_jobs)
        stopping.wait()
        log.info("worker: stopping, jobs are handed over", executor=executor.name)
    finally:
        executor.stop()
        database.close()


def _stop_requested() -> threading.Event:
    """Return an event that the first SIGTERM or Ctrl-C sets."""
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    return stopping
