"""Units of work: writers lose nothing, readers never wait, nothing is half done."""

import threading
import time
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from sqlalchemy import insert, select, text
from sqlalchemy.exc import DBAPIError, IntegrityError, StatementError

from service.db.executor_tables import Executor
from service.db.session import Database
from service.db.tables import ChipLease

pytestmark = pytest.mark.both_databases
NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)


def test_a_unit_that_fails_leaves_nothing(database: Database) -> None:
    def fail_late() -> None:
        with database.writing() as session:
            session.add(Executor(id="a", heartbeat_at=NOON))
            session.flush()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_late()
    with database.reading() as session:
        assert session.get(Executor, "a") is None


def test_a_reading_unit_writes_nothing(database: Database) -> None:
    with pytest.raises(DBAPIError, match=r"read-?only"), database.reading() as session:
        session.execute(insert(Executor).values(id="a", heartbeat_at=NOON))
    with database.writing() as session:  # the same connection writes again
        session.add(Executor(id="a", heartbeat_at=NOON))


def test_foreign_keys_hold(database: Database) -> None:
    with pytest.raises(IntegrityError), database.writing() as session:
        session.add(ChipLease(chip_id="nowhere", token=0, expires_at=NOON))


def test_a_reading_unit_sees_one_moment(database: Database) -> None:
    with database.reading() as reader:
        assert reader.get(Executor, "a") is None
        with database.writing() as session:
            session.add(Executor(id="a", heartbeat_at=NOON))
        reader.expire_all()
        assert reader.get(Executor, "a") is None


def test_the_journal_of_sqlite_is_written_ahead(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'new.sqlite'}")
    with database.reading() as session:
        assert session.scalar(text("PRAGMA journal_mode")) == "wal"
    database.close()


def test_readers_do_not_wait_for_a_writer(database: Database) -> None:
    with database.writing() as writer:
        writer.add(Executor(id="a", heartbeat_at=NOON))
        writer.flush()
        begun = time.monotonic()
        with database.reading() as reader:
            assert reader.get(Executor, "a") is None
        assert time.monotonic() - begun < 1


def test_many_who_read_and_then_write_lose_no_update(database: Database) -> None:
    with database.writing() as session:
        session.add(Executor(id="a", heartbeat_at=NOON))

    def advance() -> None:
        for _ in range(10):
            with database.writing() as session:
                row = session.scalars(select(Executor).with_for_update()).one()
                row.heartbeat_at += timedelta(seconds=1)

    threads = [threading.Thread(target=advance) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with database.reading() as session:
        row = session.scalars(select(Executor)).one()
        assert row.heartbeat_at == NOON + timedelta(seconds=60)


def test_times_come_back_in_utc(database: Database) -> None:
    elsewhere = timezone(timedelta(hours=2))
    with database.writing() as session:
        session.add(Executor(id="a", heartbeat_at=NOON.astimezone(elsewhere)))
    with database.reading() as session:
        row = session.scalars(select(Executor)).one()
        assert (row.heartbeat_at, row.heartbeat_at.tzinfo) == (NOON, UTC)


def test_a_time_without_a_zone_is_refused(database: Database) -> None:
    with pytest.raises(StatementError, match="without a zone"), database.writing() as session:
        session.add(Executor(id="a", heartbeat_at=NOON.replace(tzinfo=None)))
