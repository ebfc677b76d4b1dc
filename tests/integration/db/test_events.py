"""Events are stored once, and a reader that reached a number has seen all below it."""

from datetime import UTC, datetime

import pytest
from sqlalchemy import insert
from sqlalchemy.orm import Session

from service.db.repositories.events import EventRepository, Subject
from service.db.session import Database
from service.db.tables import Event

both = pytest.mark.both_databases
on_postgres = pytest.mark.parametrize("database_kind", ["postgresql"], indirect=True)
NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)


def tell(session: Session, key: str) -> None:
    EventRepository(session).append(Subject("job"), "job.progress", key, {}, NOON)


def tell_and_fail(session: Session, key: str) -> None:
    tell(session, key)
    raise InterruptedError


def emitted(database: Database, after: int = 0) -> list[str]:
    with database.reading() as session:
        return [event.key for event in EventRepository(session).after(after)]


@both
def test_an_event_written_twice_is_stored_once(database: Database) -> None:
    for keys in ("ab", "bc"):
        with database.writing() as session:
            for key in keys:
                tell(session, key)
    assert emitted(database) == ["a", "b", "c"]


@both
def test_a_unit_of_work_reads_its_own_events(database: Database) -> None:
    with database.writing() as session:
        tell(session, "a")
        assert EventRepository(session).last() == 1
        assert [event.key for event in EventRepository(session).after(0)] == ["a"]


@both
def test_an_event_that_is_rolled_back_is_not_stored(database: Database) -> None:
    with pytest.raises(InterruptedError), database.writing() as session:
        tell_and_fail(session, "a")
    assert emitted(database) == []


@both
def test_rolling_back_to_a_savepoint_drops_the_events_since(database: Database) -> None:
    with database.writing() as session:
        tell(session, "before")
        with pytest.raises(InterruptedError), session.begin_nested():
            tell_and_fail(session, "inside")
        with session.begin_nested():
            tell(session, "kept")
    assert emitted(database) == ["before", "kept"]


@on_postgres
def test_a_reader_misses_nothing_that_commits_late(database: Database) -> None:
    with database.writing() as slow:
        tell(slow, "slow")
        with database.writing() as quick:
            tell(quick, "quick")
        assert emitted(database) == ["quick"]
    assert emitted(database, after=1) == ["slow"]


@on_postgres
def test_a_number_drawn_before_the_commit_would_be_missed(database: Database) -> None:
    """The control."""
    values = {"subject": "job", "type": "t", "data": {}, "created_at": NOON}
    with database.writing() as slow:
        slow.execute(insert(Event).values(key="slow", **values))
        with database.writing() as quick:
            quick.execute(insert(Event).values(key="quick", **values))
        with database.reading() as session:
            seen = EventRepository(session).last()
    assert emitted(database, after=seen) == []
