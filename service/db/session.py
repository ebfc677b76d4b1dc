"""The database: one engine, and a unit of work for reading and one for writing."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.orm import Session, sessionmaker

BUSY_TIMEOUT = 15.0  # s a writer waits for another before SQLite gives up


class Database:
    """Hands out sessions. `writing()` commits at the end of its block, or rolls back."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.engine = make_engine(url)
        self._readers = _sessions(self.engine, writes=False)
        self._writers = _sessions(self.engine, writes=True)

    @property
    def is_sqlite(self) -> bool:
        return self.engine.dialect.name == "sqlite"

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A consistent view; SQLite and PostgreSQL both refuse writes in it."""
        with self._readers.begin() as session:
            yield session

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """One transaction. On SQLite it holds the write lock from its first statement."""
        with self._writers.begin() as session:
            yield session

    def close(self) -> None:
        self.engine.dispose()


def make_engine(url: str) -> Engine:
    """An engine that behaves the same on SQLite and PostgreSQL."""
    if make_url(url).get_backend_name() != "sqlite":
        return create_engine(url, pool_size=10, max_overflow=30)
    _make_directory(url)
    engine = create_engine(url, pool_size=10, max_overflow=40, connect_args=_sqlite_arguments())
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _sqlite_arguments() -> dict[str, Any]:
    # isolation_level None: the driver begins nothing by itself, `_begin_sqlite` does.
    return {"timeout": BUSY_TIMEOUT, "check_same_thread": False, "isolation_level": None}


def _make_directory(url: str) -> None:
    if (name := make_url(url).database) and name != ":memory:":
        Path(name).parent.mkdir(parents=True, exist_ok=True)


def _prepare_sqlite(connection: Any, _record: object) -> None:
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")  # a job that was accepted outlives a power cut
    connection.execute("PRAGMA foreign_keys = ON")


def _begin_sqlite(connection: Connection) -> None:
    """Take the write lock at once: upgrading a read lock later fails as soon as two try it."""
    reads_only = connection.get_execution_options().get("reads_only", False)
    connection.exec_driver_sql(f"PRAGMA query_only = {'ON' if reads_only else 'OFF'}")
    connection.exec_driver_sql("BEGIN" if reads_only else "BEGIN IMMEDIATE")


def _sessions(engine: Engine, *, writes: bool) -> sessionmaker[Session]:
    options: dict[str, Any] = {} if writes else {"reads_only": True, "postgresql_readonly": True}
    return sessionmaker(engine.execution_options(**options), expire_on_commit=False)
