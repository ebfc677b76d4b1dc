"""The pace of chips is read by the index of their jobs, however many jobs have ended."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, event, text
from sqlalchemy.orm import Session

from service.api.context import utc_now
from service.db.repositories import queue_estimate
from service.db.schema import metadata


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    engine = create_engine(f"sqlite:///{tmp_path / 'jobs.db'}")
    metadata().create_all(engine)
    with Session(engine) as session:
        yield session
    engine.dispose()


def plan_of_paces(session: Session) -> list[str]:
    """How SQLite finds what the repository asks of two chips."""
    statements = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        statements.append((statement, parameters))

    event.listen(session.get_bind(), "before_cursor_execute", note)
    session.execute(queue_estimate._CHIPS, {"chips": ["a", "b"], "now": utc_now()})
    event.remove(session.get_bind(), "before_cursor_execute", note)
    ((statement, parameters),) = statements
    found = session.connection().exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
    return [row[3] for row in found]


def test_jobs_that_succeeded_are_found_by_their_chip(session: Session) -> None:
    plan = plan_of_paces(session)
    assert "SEARCH jobs USING INDEX ix_jobs_chip_id_id (chip_id=? AND id>?)" in plan
    assert "SEARCH jobs_1 USING INDEX ix_jobs_chip_id_id (chip_id=?)" in plan


def test_by_its_status_sqlite_would_read_all_jobs_that_succeeded(session: Session) -> None:
    """The control: without statistics, SQLite takes the index of the status."""
    query = "SELECT started_at FROM jobs WHERE chip_id = 'a' AND id >= 'x' AND status = 'succeeded'"
    (row,) = session.execute(text(f"EXPLAIN QUERY PLAN {query} ORDER BY id"))
    assert "ix_jobs_status_id" in row[3]
