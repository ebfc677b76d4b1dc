"""Reads never wait for writers, and many submissions at once are all accepted."""

import asyncio
import inspect
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from anyio import CapacityLimiter, to_thread
from fastapi.routing import iter_route_contexts
from sqlalchemy.exc import TimeoutError

from service.api.context import Context
from service.db.session import Database, make_engine
from tests.world import World

WRITERS = 50  # more than a process has threads for reads
PATIENCE = 60.0  # s
CHANGES = {"POST", "PUT", "PATCH", "DELETE"}


@contextmanager
def writing(database: Database) -> Iterator[None]:
    """Another thread has a transaction open that writes."""
    began, done = threading.Event(), threading.Event()

    def write() -> None:
        with database.writing() as session:
            session.connection()  # from here on it has the write lock
            began.set()
            done.wait(PATIENCE)

    writer = threading.Thread(target=write)
    writer.start()
    assert began.wait(PATIENCE)
    try:
        yield
    finally:
        done.set()
        writer.join()


class Answers:
    """What requests at the same time were answered, in one event loop."""

    def __init__(self, world: World, threads: CapacityLimiter | None) -> None:
        self._app: Any = world.client.app
        self._key, self._threads = world.key, threads
        self.reads: list[int] = []
        self.writes: list[int] = []
        self.free_threads = 0.0  # while the writers wait

    async def ask(self, database: Database) -> None:
        """Let writers queue up behind another one, read meanwhile, and let them go on."""
        context: Context = self._app.state.context
        writers = self._threads or to_thread.current_default_thread_limiter()
        limits = context.threads._replace(writers=writers)
        self._app.state.context = context._replace(threads=limits)
        transport = httpx.ASGITransport(self._app)
        headers = {"Authorization": f"Bearer {self._key}"}
        address = "http://testserver"
        async with httpx.AsyncClient(
            transport=transport, base_url=address, headers=headers
        ) as client:
            with writing(database):
                tasks = [asyncio.create_task(self._write(client, n)) for n in range(WRITERS)]
                while not writers.statistics().tasks_waiting:
                    await asyncio.sleep(0.005)
                self.free_threads = to_thread.current_default_thread_limiter().available_tokens
                if self.free_threads:
                    self.reads = [
                        (await client.get(path)).status_code
                        for path in ("/v1/jobs", "/v1/chips", "/readyz", "/v1/keys", "/")
                    ]
                assert not any(task.done() for task in tasks)
            await asyncio.gather(*tasks)

    async def _write(self, client: httpx.AsyncClient, number: int) -> None:
        body = {"name": f"bench {number}", "settings": {"preset": "ideal", "seed": number}}
        self.writes.append((await client.post("/v1/chips", json=body)).status_code)


def test_reads_are_answered_while_writers_wait(world: World) -> None:
    database = world.context.database
    answers = Answers(world, CapacityLimiter(4))
    asyncio.run(answers.ask(database))
    assert answers.reads == [200] * 5
    assert answers.writes == [201] * WRITERS


def test_without_threads_of_their_own_writers_take_those_of_reads(world: World) -> None:
    answers = Answers(world, threads=None)
    asyncio.run(answers.ask(world.context.database))
    assert answers.free_threads == 0
    assert answers.writes == [201] * WRITERS


def test_every_route_that_changes_something_runs_apart_from_reads(world: World) -> None:
    app: Any = world.client.app
    found = list(iter_route_contexts(app.routes))
    changing = [route for route in found if CHANGES & set(route.methods or ())]
    assert len(changing) > 20
    for route in changing:
        assert inspect.iscoroutinefunction(route.endpoint), route.path


def test_a_read_has_a_connection_of_its_own_while_all_writers_wait(database: Database) -> None:
    def read() -> int:
        with database.reading() as session:
            return int(session.connection().exec_driver_sql("SELECT 1").scalar_one())

    with writing(database):
        assert read() == 1
    shared = make_engine(database.url, connections=1)  # the control: one connection for both
    with shared.connect():
        shared.pool._timeout = 0.05  # type: ignore[attr-defined]
        with pytest.raises(TimeoutError), shared.connect():
            pass
    shared.dispose()


def test_writers_take_turns_in_the_order_in_which_they_came(database: Database) -> None:
    order: list[int] = []

    def write(number: int) -> None:
        with database.writing() as session:
            session.connection()
            order.append(number)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(10)]
    with writing(database):
        for thread in threads:
            thread.start()
            threading.Event().wait(0.05)  # it waits for the connection
    for thread in threads:
        thread.join()
    assert order == list(range(10))


@pytest.mark.both_databases
def test_a_hundred_submissions_at_once_are_all_accepted(world: World) -> None:
    body = {"kind": "train", "target_set_id": world.ready_targets()}
    app: Any = world.client.app

    async def submit() -> list[int]:
        transport = httpx.ASGITransport(app)
        headers = {"Authorization": f"Bearer {world.key}"}
        async with httpx.AsyncClient(
            transport=transport, base_url="http://testserver", headers=headers
        ) as client:
            posts = [
                client.post("/v1/jobs", json=body, headers={"Idempotency-Key": str(number)})
                for number in range(100)
            ]
            return [answer.status_code for answer in await asyncio.gather(*posts)]

    before = world.stored()["jobs"]
    assert asyncio.run(submit()) == [202] * 100
    assert world.stored()["jobs"] == before + 100
