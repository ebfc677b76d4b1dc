"""Whoever waits for an event gets it, even if the database was away meanwhile."""

import asyncio
import threading
from collections.abc import Sequence
from datetime import UTC, datetime

import pytest

from service.api.notifier import EventNotifier
from service.db.repositories.events import EventRepository, Subject
from service.db.session import Database


def tell(database: Database, key: str) -> None:
    with database.writing() as session:
        EventRepository(session).append(Subject("job"), "job.progress", key, {}, datetime.now(UTC))


def rename_events(database: Database, before: str, after: str) -> None:
    with database.writing() as session:
        session.connection().exec_driver_sql(f"ALTER TABLE {before} RENAME TO {after}")


def test_a_wait_for_events_outlasts_a_database_that_was_away(
    database: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    async def wait() -> list[int]:
        notifier = EventNotifier(database, interval=0.01)
        async with notifier.listen("job") as listener:
            rename_events(database, "events", "elsewhere")
            await asyncio.sleep(0.1)  # it has found no table
            rename_events(database, "elsewhere", "events")
            tell(database, "a")
            assert await listener.wait(60.0)
            heard = [message.seq for message in listener.take()]
        await notifier.close()
        return heard

    assert asyncio.run(wait()) == [1]
    assert "event notifier: polling the database failed, event streams are stalled" in "".join(
        capsys.readouterr()
    )


def test_a_listener_hears_its_own_job_alone(database: Database) -> None:
    async def listen() -> tuple[bool, bool]:
        notifier = EventNotifier(database, interval=0.01)
        async with notifier.listen("another") as other, notifier.listen("job") as mine:
            tell(database, "a")
            found = await mine.wait(60.0), await other.wait(0.1)
        await notifier.close()
        return found

    assert asyncio.run(listen()) == (True, False)


def test_an_event_that_cannot_be_read_stops_nobody(database: Database) -> None:
    async def listen() -> list[int]:
        notifier = EventNotifier(database, interval=0.01)
        async with notifier.listen("job") as listener:
            with database.writing() as session:
                session.connection().exec_driver_sql(
                    "INSERT INTO events (subject, type, key, job_id, data, created_at) "
                    "VALUES ('job', 'job.log', 'bad', 'job', '{no json', '2026-01-01 00:00:00')"
                )
            tell(database, "a")
            assert await listener.wait(60.0)
            heard = [message.seq for message in listener.take()]
        await notifier.close()
        return heard

    assert asyncio.run(listen()) == [2]


def test_who_begins_to_listen_while_events_are_read_hears_them(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A query may be sent long after its thread was asked for it."""
    asked, go_on = threading.Event(), threading.Event()
    jobs_after = EventRepository.jobs_after

    def late(self: EventRepository, seq: int, limit: int) -> Sequence[tuple[int, str | None]]:
        asked.set()
        assert go_on.wait(60.0)
        return jobs_after(self, seq, limit)

    async def listen() -> bool:
        notifier = EventNotifier(database, interval=0.01)
        async with notifier.listen("another"):
            monkeypatch.setattr(EventRepository, "jobs_after", late)
            await asyncio.to_thread(asked.wait, 60.0)
            async with notifier.listen("job") as mine:
                tell(database, "a")
                go_on.set()
                heard = await mine.wait(2.0)
        await notifier.close()
        return heard

    assert asyncio.run(listen())
