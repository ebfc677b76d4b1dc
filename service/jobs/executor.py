"""Which processes run jobs: on SQLite one, and it holds a lock on the file beside the database."""

import fcntl
import threading
from datetime import UTC, datetime
from io import TextIOWrapper
from pathlib import Path

from sqlalchemy import make_url

from service.db.repositories.executors import ExecutorRepository
from service.db.repositories.leases import LeaseRepository
from service.db.session import Database
from service.jobs.errors import ExecutorRunningError


class ExecutorLock:
    """Held while this process runs the jobs of a SQLite database; the kernel frees it at death."""

    def __init__(self, database_url: str) -> None:
        self._path = lock_path(database_url)
        self._file: TextIOWrapper | None = None

    def acquire(self) -> None:
        """Raises ExecutorRunningError while another process holds it."""
        if self._path is None:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        file = self._path.open("w")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            raise ExecutorRunningError(str(self._path.with_suffix(""))) from None
        self._file = file

    def release(self) -> None:
        """Let another process run the jobs."""
        if self._file is not None:
            self._file.close()
            self._file = None


def lock_path(database_url: str) -> Path | None:
    """Beside the SQLite file; None where executors may be many."""
    url = make_url(database_url)
    if url.get_backend_name() != "sqlite" or url.database in (None, "", ":memory:"):
        return None
    path = Path(str(url.database))
    return path.with_name(f"{path.name}.lock")


def refuse_second(database_url: str) -> None:
    """Raises ExecutorRunningError where a service already runs on this database."""
    lock = ExecutorLock(database_url)
    lock.acquire()
    lock.release()


class Heartbeat:
    """Says now and then that this executor lives."""

    def __init__(self, database: Database, executor: str, interval: float) -> None:
        self._database = database
        self._executor = executor
        self._interval = interval
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def start(self) -> None:
        """Leases that the last process of this executor held are free: it is dead."""
        with self._database.writing() as session:
            LeaseRepository(session).release_held_by(self._executor)
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join()

    def _beat(self) -> None:
        while True:
            with self._database.writing() as session:
                ExecutorRepository(session).beat(self._executor, datetime.now(UTC))
            if self._stopping.wait(self._interval):
                return
