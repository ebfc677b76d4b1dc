"""Dumps a database to one file while it is in use, and loads it again."""

import os
import shutil
import sqlite3
import subprocess  # nosec B404 # pg_dump and pg_restore are programs
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from sqlalchemy import URL, inspect, make_url, select, text
from sqlalchemy.orm import Session

from service.backup.errors import DatabaseInUseError, DumpFailedError, DumpToolMissingError
from service.db.repositories.artifact_references import ArtifactReferenceRepository
from service.db.schema import metadata
from service.db.session import Database

_PAGES, _PAUSE = (
    1000,
    0.01,
)  # pages copied at a time, and the pause between in s, in which others can write


def dump(database: Database, path: Path) -> set[str]:
    """Write the database, as of one moment, to the file; return the blocks its rows refer to.

    Raises DumpToolMissingError and DumpFailedError.
    """
    if database.is_sqlite:
        return _dump_sqlite(database, path)
    return _dump_postgres(database, path)


def load(path: Path, database: Database) -> None:
    """Load the file into the empty database.

    Raises DumpToolMissingError and DumpFailedError.
    """
    if database.is_sqlite:
        _copy_sqlite(path, _file_of(database))
    else:
        arguments = ["--no-owner", "--no-privileges", "--clean", "--if-exists"]
        arguments += ["--single-transaction", "--exit-on-error"]
        _run("pg_restore", [*arguments, f"--dbname={_address(database)}", str(path)], database)


def check_empty(database: Database) -> None:
    """Raise DatabaseInUseError if one of our tables has a row."""
    present = set(inspect(database.engine).get_table_names())
    with database.reading() as session:
        for table in metadata().sorted_tables:
            if table.name in present and session.execute(select(table).limit(1)).first():
                shown = make_url(database.url).render_as_string(hide_password=True)
                raise DatabaseInUseError(table.name, shown)


def _dump_sqlite(database: Database, path: Path) -> set[str]:
    for part in ("", "-wal", "-shm"):
        path.with_name(path.name + part).unlink(missing_ok=True)
    _copy_sqlite(_file_of(database), path)
    copy = Database(f"sqlite:///{path}")
    with copy.reading() as session:
        blocks = ArtifactReferenceRepository(session).referenced()
    copy.close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")  # everything in one file
    return blocks


def _copy_sqlite(source: Path, target: Path) -> None:
    """Copy by the online backup of SQLite; the copy is of one moment, despite other writers."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(source)) as a, closing(sqlite3.connect(target)) as b:
        a.backup(b, pages=_PAGES, sleep=_PAUSE)


def _dump_postgres(database: Database, path: Path) -> set[str]:
    """Dump the database and read its blocks from the same snapshot."""
    with database.reading() as session:
        session.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
        blocks = ArtifactReferenceRepository(session).referenced()
        arguments = ["--format=custom", "--no-owner", "--no-privileges", f"--file={path}"]
        arguments += [f"--snapshot={_snapshot(session)}", f"--dbname={_address(database)}"]
        _run("pg_dump", arguments, database)
    return blocks


def _snapshot(session: Session) -> str:
    return str(session.execute(text("SELECT pg_export_snapshot()")).scalar_one())


def _run(tool: str, arguments: Sequence[str], database: Database) -> None:
    """Run a tool of PostgreSQL.

    The password is passed in the environment, because every user can see arguments.
    Raises DumpToolMissingError and DumpFailedError.
    """
    found = shutil.which(tool)
    if found is None:
        raise DumpToolMissingError(tool)
    password = make_url(database.url).password
    environment = os.environ | ({"PGPASSWORD": str(password)} if password else {})
    done = subprocess.run(  # nosec B603 # no shell; the tool is one of two, from PATH
        [found, *arguments], env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise DumpFailedError(tool, done.stderr)


def _address(database: Database) -> str:
    """Return the URL for libpq, without the password."""
    url: URL = make_url(database.url).set(drivername="postgresql")
    bare = URL.create(
        "postgresql", url.username, None, url.host, url.port, url.database, query=url.query
    )
    return bare.render_as_string(hide_password=False)


def _file_of(database: Database) -> Path:
    return Path(str(make_url(database.url).database))
