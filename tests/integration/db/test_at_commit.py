"""Events and the audit trail are written at the commit: whole, in order, and after all else."""

from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from sqlalchemy import event, select
from sqlalchemy.orm import Session

from service.db.access_tables import IdempotencyKey
from service.db.audit_tables import AuditEvent
from service.db.repositories.audit import SERVICE, AuditRepository
from service.db.repositories.events import EventRepository, Subject
from service.db.session import Database
from service.db.tables import Event

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)


def add_event(session: Session, key: str) -> None:
    EventRepository(session).append(Subject("job"), "job.progress", key, {}, NOON)


def add_audit(session: Session, key: str) -> None:
    AuditRepository(session).record(SERVICE, key, None, NOON)


def add_and_fail(session: Session, add: "Add") -> None:
    add(session, "undone")
    with session.begin_nested():
        add(session, "undone within")
    raise InterruptedError


Add = Callable[[Session, str], None]
each_kind = pytest.mark.parametrize("add", [add_event, add_audit])
on_postgres = pytest.mark.parametrize("database_kind", ["postgresql"], indirect=True)


def stored(database: Database) -> list[str]:
    """Keys of the events and actions of the trail; a test adds one of these kinds."""
    with database.reading() as session:
        keys = session.scalars(select(Event.key).order_by(Event.seq)).all()
        return [*keys, *session.scalars(select(AuditEvent.action).order_by(AuditEvent.seq))]


@each_kind
def test_what_is_added_in_a_savepoint_that_is_undone_is_not_written(
    database: Database, add: Add
) -> None:
    with database.writing() as session:
        add(session, "before")
        with pytest.raises(InterruptedError), session.begin_nested():
            add_and_fail(session, add)
        with session.begin_nested():
            add(session, "kept")
    assert stored(database) == ["before", "kept"]


@each_kind
def test_a_session_that_goes_on_after_a_rollback_writes_nothing_of_before(
    database: Database, add: Add
) -> None:
    with database.writing() as unit:
        bound = unit.get_bind()
    with Session(bound) as session:
        with pytest.raises(InterruptedError), session.begin():
            add_and_fail(session, add)
        with session.begin():
            add(session, "kept")
    assert stored(database) == ["kept"]


@each_kind
@on_postgres
def test_nothing_is_locked_after_the_lock_of_events(database: Database, add: Add) -> None:
    """Else two units deadlock: one that holds a row, and one that writes it after the lock."""
    said: list[str] = []
    with database.writing() as session:
        event.listen(
            session.connection(), "before_cursor_execute", lambda *told: said.append(told[2])
        )
        with session.begin_nested():
            add(session, "first")
        row = IdempotencyKey(key="k", route="r", body_sha256="0" * 64, resource_id="a")
        row.created_at = NOON
        session.add(row)  # an ORM writes it at the commit
    locked = next(number for number, sql in enumerate(said) if "advisory_xact_lock" in sql)
    written = next(number for number, sql in enumerate(said) if "INTO idempotency_keys" in sql)
    released = next(number for number, sql in enumerate(said) if "INSERT INTO" in sql)
    assert written < locked
    assert released == written  # the end of a savepoint writes neither kind
