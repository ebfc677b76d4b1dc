"""Whoever waits for an event gets it, even if the database was away meanwhile."""

import asyncio
from datetime import UTC, datetime

import pytest

from service.api.notifier import EventNotifier
from service.db.repositories.events import EventRepository
from service.db.session import Database


def tell(database: Database, key: str) -> None:
    with database.writing() as session:
        EventRepository(session).append(
            "job", "job.progress", key, {}, now=datetime.now(UTC), job_id="job"
        )


def rename_events(database: Database, before: str, after: str) -> None:
    with database.writing() as session:
        session.connection().exec_driver_sql(f"ALTER TABLE {before} RENAME TO {after}")


def test_a_wait_for_events_outlasts_a_database_that_was_away(
    database: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    async def wait() -> bool:
        rename_events(database, "events", "elsewhere")
        notifier = EventNotifier(database, interval=0.01)
        waiting = asyncio.create_task(notifier.wait_past(0, 60.0))
        await asyncio.sleep(0.1)  # it has found no table
        rename_events(database, "elsewhere", "events")
        tell(database, "a")
        try:
            return await waiting
        finally:
            await notifier.close()

    assert asyncio.run(wait())
    assert "event notifier: polling the database failed, event streams are stalled" in "".join(
        capsys.readouterr()
    )
