"""What comes together is worked on together, and each one hears of its own outcome."""

import asyncio
import threading
import time
from collections.abc import Sequence

import pytest
from sqlalchemy.exc import OperationalError

from service.api.batches import Batches

Outcomes = list[int | Exception]


class Doubling:
    """Doubles numbers, from 100 on none; the first batch waits until it is let go."""

    def __init__(self) -> None:
        self.seen: list[list[int]] = []
        self.begun, self.go_on = threading.Event(), threading.Event()
        self.fails = False
        self.away = False

    def __call__(self, numbers: Sequence[int]) -> Outcomes:
        self.seen.append(list(numbers))
        if len(self.seen) == 1:
            self.begun.set()
            self.go_on.wait(10)
        elif self.away:
            raise OperationalError("SELECT", {}, ConnectionError())
        elif self.fails and len(numbers) > 1:
            raise RuntimeError("one of them")
        return [ValueError(n) if n >= 100 else 2 * n for n in numbers]


def outcomes(work: Doubling, numbers: Sequence[int], most: int = 32) -> Outcomes:
    """Send 0, and the numbers once its batch has begun; what becomes of the numbers."""

    async def send() -> Outcomes:
        batches = Batches[int, int](work, most=most)
        first = asyncio.create_task(batches.add(0))
        while not work.begun.is_set():
            await asyncio.sleep(0.001)
        rest = [asyncio.create_task(batches.add(number)) for number in numbers]
        await asyncio.sleep(0.01)
        work.go_on.set()
        assert await first == 0
        found = await asyncio.gather(*rest, return_exceptions=True)
        return [one for one in found if isinstance(one, int | Exception)]

    return asyncio.run(send())


def test_what_comes_while_a_batch_runs_is_the_next_one() -> None:
    work = Doubling()
    assert outcomes(work, [1, 2, 3]) == [2, 4, 6]
    assert work.seen == [[0], [1, 2, 3]]


def test_a_batch_is_bounded() -> None:
    work = Doubling()
    assert outcomes(work, range(1, 6), most=2) == [2, 4, 6, 8, 10]
    assert work.seen == [[0], [1, 2], [3, 4], [5]]


def test_an_error_is_raised_to_the_one_that_caused_it() -> None:
    one, other, third = outcomes(Doubling(), [1, 100, 2])
    assert (one, third) == (2, 4)
    assert isinstance(other, ValueError)


def test_each_is_worked_on_alone_where_a_batch_fails() -> None:
    work = Doubling()
    work.fails = True
    assert outcomes(work, [1, 2]) == [2, 4]
    assert work.seen[:2] == [[0], [1, 2]]
    assert sorted(work.seen[2:]) == [[1], [2]]  # at the same time


def test_where_the_database_is_away_nobody_tries_again() -> None:
    work = Doubling()
    work.away = True
    assert all(isinstance(one, OperationalError) for one in outcomes(work, [1, 2]))
    assert work.seen == [[0], [1, 2]]


def test_who_has_gone_holds_up_nobody() -> None:
    work = Doubling()

    async def send() -> int:
        batches = Batches[int, int](work)
        gone = asyncio.create_task(batches.add(1))
        while not work.begun.is_set():
            await asyncio.sleep(0.001)
        gone.cancel()
        work.go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await gone
        return await batches.add(2)

    assert asyncio.run(send()) == 4


def test_clients_that_ask_again_at_once_come_together() -> None:
    seen: list[int] = []

    def note(numbers: Sequence[int]) -> Outcomes:
        seen.append(len(numbers))
        time.sleep(0.002)  # the others ask meanwhile
        return list(numbers)

    async def send() -> None:
        batches = Batches[int, int](note)

        async def client(number: int) -> None:
            await asyncio.sleep(0.001 * min(number, 1))
            for _ in range(20):
                await batches.add(number)

        await asyncio.gather(*(client(number) for number in range(4)))

    asyncio.run(send())
    assert seen[0] == 1
    assert seen.count(4) > 10  # not one and the other three in turn
