"""`tandemcal worker --check`: whether the worker of this machine lives, for a health check."""

from datetime import timedelta

from service.cli.environment import read_settings
from service.db.repositories.executors import ExecutorRepository
from service.db.session import Database, clock
from service.executor_names import machine_name
from service.settings import Settings


def worker_lives() -> bool:
    """Return whether the worker of this machine has recorded a heartbeat in time.

    Raises OperationalError where the database does not answer.
    """
    settings = read_settings()
    database = Database(settings.database)
    try:
        return is_heard(settings, database)
    finally:
        database.close()


def is_heard(settings: Settings, database: Database) -> bool:
    """Return whether the worker that these settings name is among the living."""
    name = settings.executor_id or machine_name()
    silence = timedelta(seconds=settings.executor_silence_s)
    with database.reading() as session:
        return name in ExecutorRepository(session).living(silence, clock(session))
