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


BY_CHIP = "SEARCH jobs USING INDEX ix_jobs_chip_id_id (chip_id=?)"


def step_of_last_jobs(plan: list[str]) -> str:
    """Of the plan, how the last jobs of a chip are found."""
    return plan[plan.index("CO-ROUTINE anon_1") + 1]


def test_jobs_that_succeeded_are_found_by_their_chip(session: Session) -> None:
    assert step_of_last_jobs(plan_of_paces(session)) == BY_CHIP


def test_where_chips_have_no_index_the_plan_says_so(session: Session) -> None:
    """The control."""
    session.execute(text("DROP INDEX ix_jobs_chip_id_id"))
    assert step_of_last_jobs(plan_of_paces(session)) != BY_CHIP
