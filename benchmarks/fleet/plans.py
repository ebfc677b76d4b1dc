"""Statements that the repositories send to PostgreSQL, with their times and plans."""

import statistics
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from sqlalchemy import event, text
from sqlalchemy.orm import Session

from service.db.session import Database

Ask = Callable[[Session], object]


class Statement(NamedTuple):
    """One statement as it was sent."""

    sql: str
    parameters: Any


class Explained(NamedTuple):
    """One statement, planned and executed."""

    sql: str
    milliseconds: float  # in the database: the median, planning included
    fastest_milliseconds: float  # where other work disturbs the median
    first_milliseconds: float  # of the first time
    plan: dict[str, Any]  # of the last time

    @property
    def outline(self) -> str:
        """List which nodes of the plan read how many rows, from the outermost one inwards."""
        return "\n".join(_lines(self.plan["Plan"], 0))

    @property
    def buffers(self) -> int:
        """Number of pages of 8 KiB that were read."""
        root = self.plan["Plan"]
        return int(root["Shared Hit Blocks"] + root["Shared Read Blocks"])


def explained(database: Database, ask: Ask, rounds: int) -> list[Explained]:
    """Explain every statement of a question, several times; undo what it writes."""
    with _asking(database) as session:
        statements = statements_of(session, ask)
    return [_explain(database, statement, rounds) for statement in statements]


def statements_of(session: Session, ask: Ask) -> list[Statement]:
    """List the statements that a question sends."""
    sent: list[Statement] = []

    def keep(_connection: Any, _cursor: Any, sql: str, parameters: Any, *_: Any) -> None:
        sent.append(Statement(sql, parameters))

    engine = session.get_bind()
    event.listen(engine, "before_cursor_execute", keep)
    try:
        ask(session)
    finally:
        event.remove(engine, "before_cursor_execute", keep)
    return sent


def _explain(database: Database, statement: Statement, rounds: int) -> Explained:
    took, plan = [], {}
    for _ in range(rounds):
        with _asking(database) as session:
            cursor = session.connection().connection.cursor()
            cursor.execute(
                f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statement.sql}", statement.parameters
            )
            (row,) = cursor.fetchall()
            plan = row[0][0]
        took.append(plan["Planning Time"] + plan["Execution Time"])
    return Explained(statement.sql, statistics.median(took), min(took), took[0], plan)


@contextmanager
def _asking(database: Database) -> Iterator[Session]:
    """Open a unit of work that is undone at its end."""
    with Session(database.engine) as session:
        session.execute(text("SELECT 1"))
        yield session
        session.rollback()


def _lines(node: dict[str, Any], depth: int) -> Iterator[str]:
    on = node.get("Index Name") or node.get("Relation Name") or ""
    rows = node["Actual Rows"] * node["Actual Loops"]
    yield f"{'  ' * depth}{node['Node Type']} {on}".rstrip() + f": {rows:.0f} rows"
    for part in node.get("Plans", ()):
        yield from _lines(part, depth + 1)
