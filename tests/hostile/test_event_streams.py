"""Event streams: kept alive, resumed without gap or double, ended with their key; many at once."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from sqlalchemy import event as sql_event
from sqlalchemy import update
from uuid_utils import uuid7

from service.api import credentials, events
from service.api.context import Context, utc_now
from service.api.event_messages import Message
from service.api.notifier import EventNotifier, Listener
from service.db.access_tables import ApiKey
from service.db.repositories.events import EventRepository, Subject
from service.db.repositories.jobs import JobRepository
from service.db.session import Database
from service.states import JobStatus
from tests.world import World


class Stream:
    """One event stream, read from the application itself; `limit` cuts it after so many bytes."""

    def __init__(self, world: World, job_id: str, key: str, seq: int = 0, limit: int = 2**30):
        self.status, self.body, self.ended = 0, b"", asyncio.Event()
        self._limit, self._cut = limit, asyncio.Event()
        self._scope = {
            "type": "http",
            "method": "GET",
            "path": f"/v1/jobs/{job_id}/events",
            "query_string": b"",
            "headers": [
                (b"host", b"testserver"),
                (b"authorization", f"Bearer {key}".encode()),
                (b"last-event-id", str(seq).encode()),
            ],
            "client": ("127.0.0.1", 1),
            "scheme": "http",
            "state": {},
        }
        self._app: Any = world.client.app

    @property
    def lines(self) -> list[str]:
        """The whole lines that have arrived; the rest of a cut stream is no line."""
        return self.body.decode("utf-8", "ignore").split("\n")[:-1]

    @property
    def seqs(self) -> list[int]:
        """Numbers of the events that arrived as a whole, each with the blank line at its end."""
        whole = self.body.decode("utf-8", "ignore").rpartition("\n\n")[0]
        return [int(line[4:]) for line in whole.split("\n") if line.startswith("id: ")]

    async def read(self) -> None:
        """Read until the stream ends or is cut."""
        await self._app(self._scope, self._receive, self._send)
        self.ended.set()

    async def _receive(self) -> dict[str, Any]:
        await self._cut.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: dict[str, Any]) -> None:
        self.status = message.get("status", self.status)
        self.body = (self.body + message.get("body", b""))[: self._limit]
        if len(self.body) == self._limit:
            self._cut.set()


@asynccontextmanager
async def reading(*streams: Stream) -> AsyncIterator[None]:
    """Read these streams until the block ends."""
    tasks = [asyncio.create_task(stream.read()) for stream in streams]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        for task in tasks:
            with suppress(asyncio.CancelledError):
                await task


async def until(condition: Any) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.005)


@pytest.fixture
def job(world: World) -> str:
    """A job that waits, with the event `job.queued`."""
    return str(world.complete_targets(world.upload_teacher()["id"])["id"])


def emit(database: Database, job_id: str, count: int = 1) -> None:
    with database.writing() as session:
        for _ in range(count):
            key = str(uuid7())
            EventRepository(session).append(
                Subject(job_id), "job.log", key, {"message": "é"}, utc_now()
            )


def end(world: World, job_id: str) -> None:
    with world.context.database.writing() as session:
        JobRepository(session).request_cancel(job_id, utc_now())


def stored(context: Context, job_id: str) -> list[int]:
    with context.database.reading() as session:
        return [row.seq for row in EventRepository(session).after(0, job_id=job_id, limit=10_000)]


def of_the_loop(world: World) -> None:
    """Give the service a notifier of the loop that the test runs."""
    world.client.app.state.context = world.context._replace(  # type: ignore[attr-defined]
        notifier=EventNotifier(world.context.database, interval=0.01)
    )


def test_a_silent_stream_is_kept_alive_while_other_jobs_talk(
    world: World, job: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert events.KEEPALIVE + min(events.KEEPALIVE, events.RECHECK) <= 15.0
    monkeypatch.setattr(events, "KEEPALIVE", 0.05)

    async def listen() -> None:
        stream = Stream(world, job, world.key)
        async with reading(stream):
            for _ in range(30):
                emit(world.context.database, "another job")
                await asyncio.sleep(0.01)
            await until(lambda: stream.lines.count(": still here") >= 3)
            assert len(stream.seqs) == 1

    of_the_loop(world)
    asyncio.run(listen())


@pytest.mark.parametrize("cut", [25, 333, 1000])
def test_a_stream_that_is_cut_goes_on_without_gap_or_double(
    world: World, job: str, cut: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy cuts the connection in the middle of an event, again and again."""
    monkeypatch.setattr(events, "_BATCH", 7)

    async def listen() -> list[int]:
        seen: list[int] = []
        size, has_ended = cut, False
        while True:
            stream = Stream(world, job, world.key, seq=seen[-1] if seen else 0, limit=size)
            async with reading(stream):
                await until(lambda: stream.ended.is_set() or len(stream.body) == size)  # noqa: B023
            if stream.status == 204:
                return seen
            size = size if stream.seqs else 2 * size  # one event has to fit
            seen += stream.seqs
            if len(seen) >= 20 and not has_ended:
                has_ended = True
                end(world, job)

    emit(world.context.database, job, 40)
    of_the_loop(world)
    assert asyncio.run(listen()) == stored(world.context, job)


def test_events_that_come_while_a_stream_begins_are_neither_lost_nor_doubled(
    world: World, job: str
) -> None:
    """Writers and listeners begin at any time of each other."""

    async def listen() -> list[Stream]:
        streams = [Stream(world, job, world.key) for _ in range(20)]
        async with reading():
            tasks = []
            for stream in streams:
                tasks.append(asyncio.create_task(stream.read()))
                await asyncio.to_thread(emit, world.context.database, job, 3)
            await asyncio.to_thread(end, world, job)
            async with asyncio.timeout(30):
                await asyncio.gather(*tasks)
        return streams

    of_the_loop(world)
    expected = None
    for stream in asyncio.run(listen()):
        expected = expected or stored(world.context, job)
        assert stream.seqs == expected


@pytest.mark.parametrize("column", ["revoked_at", "expires_at"])
def test_a_stream_ends_when_its_key_is_revoked(
    world: World, job: str, monkeypatch: pytest.MonkeyPatch, column: str
) -> None:
    """Another process revokes the key, or it expires."""
    monkeypatch.setattr(events, "RECHECK", 0.02)
    monkeypatch.setattr(credentials, "_CACHED", 0.02)
    made = world.client.post("/v1/keys", json={"name": "a", "scopes": ["read"]}).json()

    def end_key() -> None:
        with world.context.database.writing() as session:
            theirs = update(ApiKey).where(ApiKey.id == made["id"])
            session.execute(theirs.values({column: utc_now()}))

    async def listen() -> None:
        theirs, mine = Stream(world, job, made["key"]), Stream(world, job, world.key)
        async with reading(theirs, mine):
            await until(lambda: theirs.seqs and mine.seqs)
            await asyncio.to_thread(end_key)
            await until(theirs.ended.is_set)
            emit(world.context.database, job)
            await until(lambda: len(mine.seqs) == 2)  # the control
            assert not mine.ended.is_set()
            assert len(theirs.seqs) == 1

    of_the_loop(world)
    asyncio.run(listen())


def test_a_hundred_listeners_ask_the_database_once(world: World, job: str) -> None:
    """Once they have begun, an event is read once for all of them."""
    queries: list[str] = []
    engines = world.context.database

    def count(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith("SELECT") and "events" in statement:
            queries.append(statement)

    async def listen() -> int:
        streams = [Stream(world, job, world.key) for _ in range(100)]
        async with reading(*streams):
            await until(lambda: all(len(stream.seqs) == 1 for stream in streams))
            queries.clear()
            emit(engines, job)
            await until(lambda: all(len(stream.seqs) == 2 for stream in streams))
            return sum("job_id = " in query for query in queries)

    of_the_loop(world)
    for engine in {id(one): one for one in engines.engines}.values():
        sql_event.listen(engine, "before_cursor_execute", count)
    assert asyncio.run(listen()) == 0  # none of the listeners asks by itself
    assert any("events.seq > " in query for query in queries)


def test_a_listener_that_is_far_behind_reads_the_rest_from_the_database() -> None:
    listener = Listener()
    for seq in range(1001):
        assert not listener.missed
        listener.hear(Message(seq, "job", "", ends_job=False))
    assert listener.missed
    listener.take()
    assert not listener.missed


def test_a_job_that_has_ended_ends_its_stream(world: World, job: str) -> None:
    token = 1
    with world.context.database.writing() as session:
        jobs = JobRepository(session)
        jobs.start(job, token, "worker", utc_now())
        jobs.end(job, token, JobStatus.SUCCEEDED, None, None, utc_now())
    text = world.client.get(f"/v1/jobs/{job}/events").text
    assert "event: job.ended" in text
    late = world.client.get(f"/v1/jobs/{job}/events", params={"after": 2**40})
    assert late.status_code == 204
