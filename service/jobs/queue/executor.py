"""Executors, the processes that run jobs, and their names: on SQLite one, on PostgreSQL many.

A name belongs to one living process, and a process that starts again has its name again.
"""

import fcntl
import threading
from contextlib import suppress
from io import TextIOWrapper
from pathlib import Path
from typing import Protocol

import structlog
from sqlalchemy import Connection, func, make_url, select

from service.db.locks import lock_key
from service.db.outage import AWAY
from service.db.repositories.executors import ExecutorRepository
from service.db.repositories.leases import LeaseRepository
from service.db.session import Database, clock
from service.executor_names import machine_name
from service.jobs.errors import ExecutorNameTakenError, ExecutorRunningError
from service.jobs.periodic import apart
from service.logs import warn_in_a_line
from service.settings import Settings

_EMBEDDED = "embedded"
_NOT_RECORDED = "executor: its heartbeat was not recorded, others may take it for dead"
_NOT_KEPT = "executor: the lock on its name was not looked at, another process may take the name"
_NAMES_MAX = 1000  # workers on one machine


class ExecutorLock(Protocol):
    """A lock that is held while this process runs jobs; it is freed when the process dies."""

    def acquire(self) -> str:
        """Take the lock and return the executor's name.

        Raises ExecutorRunningError and ExecutorNameTakenError.
        """
        ...

    def keep(self) -> None:
        """Take the lock again where it was lost."""
        ...

    def release(self) -> None:
        """Free the lock for another process."""
        ...


def executor_lock(settings: Settings, database: Database) -> ExecutorLock:
    """Make the lock that fits the database: on a file for SQLite, else in the database."""
    if database.is_sqlite:
        return FileLock(database.url, settings.executor_id or _EMBEDDED)
    return DatabaseLock(database, settings.executor_id)


class FileLock:
    """A lock on a file beside the SQLite database: one process runs its jobs."""

    def __init__(self, database_url: str, name: str = _EMBEDDED) -> None:
        self._name = name
        self._path = lock_path(database_url)
        self._file: TextIOWrapper | None = None

    def acquire(self) -> str:
        """Take the lock and return the name. Raises ExecutorRunningError while it is held."""
        if self._path is None:
            return self._name
        self._path.parent.mkdir(parents=True, exist_ok=True)
        file = self._path.open("w")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            raise ExecutorRunningError(str(self._path.with_suffix(""))) from None
        self._file = file
        return self._name

    def keep(self) -> None:
        """Do nothing: the kernel keeps a lock on a file."""

    def release(self) -> None:
        """Free the lock by closing its file."""
        if self._file is not None:
            self._file.close()
            self._file = None


class DatabaseLock:
    """A lock on a name, held by a connection of its own to PostgreSQL.

    Without a given name it is that of the machine, with a number where several run there.
    """

    def __init__(self, database: Database, name: str | None) -> None:
        self._database = database
        self._given = name
        self._name: str | None = None
        self._connection: Connection | None = None

    def acquire(self) -> str:
        """Take the first free name and return it. Raises ExecutorNameTakenError."""
        for name in self._names():
            if self._try(name):
                self._name = name
                return name
        raise ExecutorNameTakenError(str(self._given))

    def keep(self) -> None:
        """Take the lock again where the server was restarted and has forgotten it."""
        try:
            if self._connection is not None:
                self._connection.scalar(select(1))
                return
        except AWAY:
            self._end_session()
        if self._name is not None and not self._try(self._name):
            structlog.get_logger(__name__).error(
                "executor: another process has taken its name, one of them has to stop",
                name=self._name,
            )

    def release(self) -> None:
        """Give the name back, and end the database session."""
        if self._connection is not None:
            with suppress(*AWAY):  # the lock ends with the session, but not at once
                self._connection.scalar(select(func.pg_advisory_unlock_all()))
        self._end_session()

    def _end_session(self) -> None:
        if self._connection is not None:
            self._connection.invalidate()
            self._connection.close()
            self._connection = None

    def _names(self) -> list[str]:
        if self._given is not None:
            return [self._given]
        machine = machine_name()
        return [
            machine if number == 1 else f"{machine}-{number}" for number in range(1, _NAMES_MAX + 1)
        ]

    def _try(self, name: str) -> bool:
        connection = self._database.engine.connect()
        connection = connection.execution_options(isolation_level="AUTOCOMMIT")
        key = lock_key(f"executor {name}")
        if connection.scalar(select(func.pg_try_advisory_lock(key))):
            self._connection = connection
            return True
        connection.close()
        return False


def lock_path(database_url: str) -> Path | None:
    """Return the lock file beside the SQLite file; None where executors may be many."""
    url = make_url(database_url)
    if url.get_backend_name() != "sqlite" or url.database in (None, "", ":memory:"):
        return None
    path = Path(str(url.database))
    return path.with_name(f"{path.name}.lock")


def refuse_second(database_url: str) -> None:
    """Check that no service runs on this SQLite database. Raises ExecutorRunningError."""
    lock = FileLock(database_url)
    lock.acquire()
    lock.release()


class Heartbeat:
    """A thread that records now and then that this executor lives."""

    def __init__(
        self, database: Database, lock: ExecutorLock, executor: str, settings: Settings
    ) -> None:
        self._database = database
        self._lock = lock
        self._executor = executor
        self._slots = settings.parallel_jobs
        self._interval = settings.heartbeat_s
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._go_on, name="heartbeat", daemon=True)

    def start(self) -> None:
        """Record the first heartbeat and start the thread.

        On SQLite the last process of this executor is dead: its chips are freed. On PostgreSQL it
        may be cut off and still drive: its leases run out by themselves.
        """
        if self._database.is_sqlite:
            with self._database.writing() as session:
                LeaseRepository(session).release_held_by(self._executor)
        self._beat()
        self._thread.start()

    def stop(self) -> None:
        """Stop the thread and forget the executor, so that nobody takes it for dead."""
        self._stopping.set()
        self._thread.join()
        try:
            with self._database.writing() as session:
                ExecutorRepository(session).forget(self._executor)
        except AWAY:
            structlog.get_logger(__name__).warning(
                "executor: stopped without a database, other executors will take it for dead"
            )

    def _go_on(self) -> None:
        while not self._stopping.wait(self._interval):
            try:
                apart(self._lock.keep, _NOT_KEPT)
                apart(self._beat, _NOT_RECORDED)
            except AWAY as error:
                warn_in_a_line(__name__, _NOT_RECORDED, error)

    def _beat(self) -> None:
        with self._database.writing() as session:
            ExecutorRepository(session).beat(self._executor, self._slots, clock(session))
