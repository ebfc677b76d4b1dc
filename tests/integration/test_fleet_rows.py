"""The measurements of a fleet, small: what they ask and find, never how long it takes."""

from collections.abc import Iterator

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from benchmarks.fleet import population, rows
from benchmarks.fleet.plans import Explained, explained
from benchmarks.fleet.recovery import Limits
from service.db.session import Database
from tests.postgres import Server, as_text

SIZE = population.Size(chips=100, jobs=8_000, waiting=20, running=4)


@pytest.fixture(scope="module")
def fleet(postgres: Server, migrated_postgres: str) -> Iterator[Database]:
    """Many rows, and statistics of them."""
    url = postgres.create(migrated_postgres)
    database = Database(as_text(url))
    with database.engine.connect() as connection:
        population.populate(connection, SIZE)
    yield database
    database.close()
    postgres.drop(url)


def reads_all_jobs(statements: list[Explained]) -> bool:
    return any("Seq Scan jobs" in one.outline for one in statements)


def test_no_question_reads_all_jobs(fleet: Database) -> None:
    for name, ask in rows.questions(rows.sample(fleet)).items():
        asked = explained(fleet, ask, rounds=1)
        assert asked, name
        assert not reads_all_jobs(asked), name


def test_a_question_without_an_index_would_be_seen(fleet: Database) -> None:
    def by_reason(session: Session) -> None:
        session.execute(text("SELECT id FROM jobs WHERE reason = 'none'"))

    assert reads_all_jobs(explained(fleet, by_reason, rounds=1))


def test_a_question_that_takes_too_long_is_named(fleet: Database) -> None:
    def wait(session: Session) -> None:
        session.execute(text("SELECT pg_sleep(0.03)"))

    slow = rows.judged({"due chips": explained(fleet, wait, rounds=1)})
    assert not slow["passed"]
    assert "due chips" in slow["missed"][0]


def test_a_job_may_stand_still_as_long_as_its_lease() -> None:
    assert Limits(heartbeat=5, silence=4, lease=60).bound > 60
    assert Limits(heartbeat=5, silence=60, lease=4).bound > 60
