"""Database connections: engines, and units of work for reading and for writing."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, func, select
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, InvalidatePoolError, OperationalError
from sqlalchemy.orm import Session, sessionmaker
from sqlalchemy.pool import ConnectionPoolEntry

_BACKENDS = ("sqlite", "postgresql")
BUSY_TIMEOUT = 15.0  # s that a writer waits for another before it fails
CONNECTIONS = 20  # of one process to PostgreSQL, without those of the job engine
_IDLE_TIMEOUT = 60.0  # s after which PostgreSQL ends a transaction of a silent client
_IDLE = 0.1  # s after which a connection is tried before it is used
_USED_AT = "used_at"
_SILENCE = 10.0  # s without an acknowledgement after which a connection counts as dead


class Database:
    """Opens sessions: a unit of work commits at the end of its block, or rolls back on error."""

    def __init__(self, url: str) -> None:
        """Connect to SQLite or PostgreSQL by URL, such as `postgresql+psycopg://user@host/name`."""
        self.url = url
        self.engine = make_engine(url)  # also that of the job engine
        reads = writes = self.engine
        if self.is_sqlite:
            # Readers do not wait for a connection that writers hold. Writers wait for the only one
            # of theirs, in turn: SQLite itself lets them try again at random.
            reads, writes = make_engine(url), make_engine(url, connections=1)
        self.engines = frozenset({self.engine, reads, writes})
        self._is_closed = False
        for engine in self.engines:
            event.listen(engine, "checkin", self._close_late)
        self._readers = _sessions(reads, writes=False)
        self._apart = _sessions(reads, writes=False, apart=True)
        self._writers = _sessions(writes, writes=True)

    @property
    def is_sqlite(self) -> bool:
        """Whether this is a SQLite database."""
        return self.engine.dialect.name == "sqlite"

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """Open a read-only unit of work: all its queries see the same moment, writes fail."""
        with self._readers.begin() as session:
            yield session

    @contextmanager
    def reading_apart(self) -> Iterator[Session]:
        """Open a unit of work whose queries may each see another moment; it must not write.

        On PostgreSQL it sends nothing to begin and to end. On SQLite it is like `reading`.
        """
        with self._apart.begin() as session:
            yield session

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """Open a unit of work for writing, one transaction.

        On SQLite it holds the write lock of the database from its first statement.
        """
        with self._writers.begin() as session:
            yield session

    def close(self) -> None:
        """Close all connections: those that are idle now, those in use once they come back."""
        self._is_closed = True
        for engine in self.engines:
            engine.dispose()

    def _close_late(self, _: object, record: ConnectionPoolEntry) -> None:
        if self._is_closed:  # its pool is gone, and nobody else would close it
            record.invalidate()


def wait_for(url: str, seconds: float) -> None:
    """Wait until the database answers. Raises OperationalError after `seconds` s."""
    engine = make_engine(url)
    deadline = time.monotonic() + seconds
    try:
        while not _answers(engine, or_raise=time.monotonic() >= deadline):
            time.sleep(0.5)
    finally:
        engine.dispose()


def shown_url(url: str) -> str:
    """Return the URL of a database without its password, for logs and messages."""
    return make_url(url).render_as_string(hide_password=True)


def clock(session: Session) -> datetime:
    """Return the time that leases and heartbeats go by: on PostgreSQL that of its machine.

    So the clocks of workers on several machines need not agree.
    """
    if session.get_bind().dialect.name == "sqlite":
        return datetime.now(UTC)
    now: datetime = session.scalars(select(func.clock_timestamp())).one()
    return now.astimezone(UTC)


def make_engine(url: str, connections: int = 50) -> Engine:
    """Create an engine that behaves the same on SQLite and PostgreSQL.

    `connections` bounds those to SQLite. Raises ArgumentError for a database of another kind.
    """
    parsed = make_url(url)
    if parsed.get_backend_name() not in _BACKENDS:
        raise ArgumentError(f"{parsed.get_backend_name()} is neither SQLite nor PostgreSQL")
    if parsed.get_backend_name() != "sqlite":
        engine = create_engine(
            parsed,
            pool_size=CONNECTIONS // 2,
            max_overflow=CONNECTIONS - CONNECTIONS // 2,
            pool_use_lifo=True,
            hide_parameters=True,  # errors name no key and no secret
            connect_args=_postgres_arguments(parsed),
        )
        _ping_after_idling(engine)
        return engine
    _make_directory(url)
    engine = create_engine(
        url,
        pool_size=min(10, connections),
        max_overflow=max(0, connections - 10),
        pool_timeout=BUSY_TIMEOUT,
        hide_parameters=True,
        connect_args=_sqlite_arguments(),
    )
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _ping_after_idling(engine: Engine) -> None:
    """Try a connection that was idle before it is used: no request fails after a restart.

    No server restarts within `_IDLE`. To try each connection costs a quarter of a short request.
    """

    def note(_: object, record: ConnectionPoolEntry) -> None:
        record.info[_USED_AT] = time.monotonic()

    def ping(connection: Any, record: ConnectionPoolEntry, _: object) -> None:
        used_at = record.info.get(_USED_AT)  # None: it has just been opened
        if used_at is None or time.monotonic() - used_at < _IDLE:
            return
        try:
            engine.dialect.do_ping(connection)
        except engine.dialect.loaded_dbapi.Error as error:
            raise InvalidatePoolError from error  # all are opened anew, this one at once

    event.listen(engine, "checkin", note)
    event.listen(engine, "checkout", ping)


def _answers(engine: Engine, *, or_raise: bool) -> bool:
    try:
        with engine.connect():
            return True
    except OperationalError:
        if or_raise:
            raise
        return False


def _postgres_arguments(url: URL) -> dict[str, Any]:
    """Return the options for libpq, without those that the URL sets itself."""
    milliseconds = {
        "lock_timeout": BUSY_TIMEOUT,
        "idle_in_transaction_session_timeout": _IDLE_TIMEOUT,
    }
    limits = " ".join(f"-c {name}={seconds * 1000:.0f}" for name, seconds in milliseconds.items())
    wanted = {
        "application_name": "tandemcal",
        "options": f"-c timezone=UTC {limits}",
        "connect_timeout": 5,
        "keepalives_idle": 5,
        "keepalives_interval": 2,
        "keepalives_count": 3,
        "tcp_user_timeout": int(_SILENCE * 1000),
    }
    return {name: value for name, value in wanted.items() if name not in url.query}


def _sqlite_arguments() -> dict[str, Any]:
    # isolation_level None: transactions are begun by `_begin_sqlite`, not by the driver.
    return {"timeout": BUSY_TIMEOUT, "check_same_thread": False, "isolation_level": None}


def _make_directory(url: str) -> None:
    if (name := make_url(url).database) and name != ":memory:":
        Path(name).parent.mkdir(parents=True, exist_ok=True)


def _prepare_sqlite(connection: Any, _record: object) -> None:
    # A text that is no UTF-8 is a fault of its row, raised as UnicodeDecodeError. sqlite3 itself
    # would raise OperationalError, as where the database is away, and quote the text.
    connection.text_factory = bytes.decode
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")  # an accepted job survives a power cut
    connection.execute("PRAGMA foreign_keys = ON")


def _begin_sqlite(connection: Connection) -> None:
    """Take the write lock at the start: two transactions that upgrade a read lock later fail."""
    reads_only = connection.get_execution_options().get("reads_only", False)
    connection.exec_driver_sql(f"PRAGMA query_only = {'ON' if reads_only else 'OFF'}")
    connection.exec_driver_sql("BEGIN" if reads_only else "BEGIN IMMEDIATE")


def _sessions(engine: Engine, *, writes: bool, apart: bool = False) -> sessionmaker[Session]:
    kinds = _READS_APART if apart else _READS_ONLY
    options: dict[str, Any] = {} if writes else kinds[engine.dialect.name]
    return sessionmaker(engine.execution_options(**options), expire_on_commit=False)


_READS_ONLY: dict[str, dict[str, Any]] = {
    "sqlite": {"reads_only": True},
    # All queries of one unit of work see the same moment, as they do on SQLite.
    "postgresql": {"postgresql_readonly": True, "isolation_level": "REPEATABLE READ"},
}
_READS_APART = _READS_ONLY | {"postgresql": {"isolation_level": "AUTOCOMMIT"}}
