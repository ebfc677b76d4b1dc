"""So many at once, the most urgent first."""

import threading

import pytest

from service.jobs.attempts.runner import Rank, Slots
from service.jobs.errors import ServiceStoppingError


def test_the_most_urgent_of_those_that_wait_goes_first() -> None:
    slots, order = Slots(1), list[Rank]()

    def work(rank: Rank) -> None:
        with slots.one(rank):
            order.append(rank)

    ranks = [(5, "b"), (5, "a"), (1, "c")]
    threads = [threading.Thread(target=work, args=(rank,)) for rank in ranks]
    with slots.one((9, "first")):
        for thread in threads:
            thread.start()
        while slots.waiting < len(ranks):
            threading.Event().wait(0.001)
    for thread in threads:
        thread.join()
    assert order == [(1, "c"), (5, "a"), (5, "b")]


def test_nobody_enters_once_it_is_stopped() -> None:
    slots = Slots(1)
    slots.stop()
    with pytest.raises(ServiceStoppingError), slots.one((1, "a")):
        pass
