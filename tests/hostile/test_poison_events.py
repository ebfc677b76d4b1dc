"""Events that hold what no event may hold: streams, logs and pages show all others."""

import asyncio

import pytest
from sqlalchemy import text
from structlog.testing import capture_logs

from service.api import events
from service.db.session import Database
from tests.hostile.test_event_streams import Stream, emit, end, job, of_the_loop, reading, until
from tests.world import World

__all__ = ["job"]  # the fixture

POISONS = {
    "null": "null",
    "list": "[1]",
    "number": "7",
    "surrogate": r'{"message": "\ud800", "line": "\ud800"}',
    "no json": "{no json",
}


def poison(database: Database, job_id: str, data: str, type: str = "job.log") -> None:
    """Write an event past everything that would refuse it."""
    insert = text(
        "INSERT INTO events (subject, type, key, job_id, data, created_at) "
        "VALUES (:job, :type, :data, :job, :data, '2026-01-01 00:00:00')"
    )
    with database.writing() as session:
        session.execute(insert, {"job": job_id, "type": type, "data": data})


def poison_all(database: Database, job_id: str) -> None:
    for data in POISONS.values():
        poison(database, job_id, data)


def sound(database: Database, job_id: str) -> list[int]:
    """Numbers of the events of the job that are no poison."""
    query = text("SELECT seq, data FROM events WHERE job_id = :job ORDER BY seq")
    with database.reading() as session:
        rows = session.execute(query, {"job": job_id}).all()
    return [row.seq for row in rows if str(row.data) not in POISONS.values()]


def test_streams_go_on_beside_poisoned_events(world: World, job: str) -> None:
    database = world.context.database

    async def listen() -> tuple[Stream, Stream]:
        ahead, behind = (Stream(world, job, world.key) for _ in range(2))
        async with reading(ahead):
            await until(lambda: ahead.seqs)
            poison_all(database, job)
            emit(database, job)
            await until(lambda: len(ahead.seqs) == 2)
            async with reading(behind):
                await until(lambda: len(behind.seqs) == 2)
                end(world, job)
                await asyncio.gather(ahead.ended.wait(), behind.ended.wait())
        return ahead, behind

    of_the_loop(world)
    with capture_logs() as logs:
        streams = asyncio.run(asyncio.wait_for(listen(), 60))
    for stream in streams:
        assert stream.seqs == sound(database, job)
    assert any("an event is damaged" in line["event"] and line["seq"] for line in logs)


@pytest.mark.parametrize("name", ["null", "surrogate", "no json"])
def test_a_stream_ends_with_its_job_though_the_event_of_the_end_is_damaged(
    world: World, job: str, name: str
) -> None:
    database = world.context.database

    async def listen() -> list[int]:
        stream = Stream(world, job, world.key)
        async with reading(stream):
            await until(lambda: stream.seqs)
            change = text("UPDATE jobs SET status = 'cancelled' WHERE id = :job")
            with database.writing() as session:
                session.execute(change, {"job": job})
            poison(database, job, POISONS[name], "job.ended")
            await stream.ended.wait()
        return stream.seqs

    of_the_loop(world)
    with capture_logs():
        assert asyncio.run(asyncio.wait_for(listen(), 60)) == [1]


def test_a_whole_batch_of_poisoned_events_is_passed(
    world: World, job: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "_BATCH", 2)
    database = world.context.database
    poison_all(database, job)
    emit(database, job)
    end(world, job)

    async def listen() -> list[int]:
        stream = Stream(world, job, world.key, seq=1)
        async with reading(stream):
            await stream.ended.wait()
        return stream.seqs

    of_the_loop(world)
    with capture_logs():
        seen = asyncio.run(asyncio.wait_for(listen(), 60))
    assert seen == [len(POISONS) + 2, len(POISONS) + 3]


def test_the_log_and_the_page_of_a_job_show_the_other_events(world: World, job: str) -> None:
    poison_all(world.context.database, job)
    emit(world.context.database, job)
    paths = (f"/v1/jobs/{job}/log", f"/jobs/{job}", f"/fragments/jobs/{job}")
    with capture_logs():
        shown = [world.client.get(path) for path in paths]
    assert [answer.status_code for answer in shown] == [200, 200, 200]
    assert "job.log é" in shown[0].text
