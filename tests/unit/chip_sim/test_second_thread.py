"""Work that a second thread does ahead: done once, with the same numbers, whoever does it."""

import threading
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from chip_sim.gaussian_table import GaussianTable
from chip_sim.second_thread import SecondThread

COUNTS = (
    100_000,
    7,
    1_500_000,
    3,
    131_072,
    1,
    600_000,
)  # some are longer than looked up


@pytest.fixture(params=[1, 2])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def drawn(second: SecondThread | None, *, expected: int) -> torch.Tensor:
    gaussian = GaussianTable(torch.Generator().manual_seed(3), expected, second)
    return torch.cat([gaussian.take(count).clone() for count in COUNTS])


@pytest.mark.parametrize("expected", [0, 50_000, sum(COUNTS), 10 * sum(COUNTS)])
@pytest.mark.usefixtures("threads")
def test_the_noise_is_the_same_on_one_thread_or_two(expected: int) -> None:
    second = SecondThread()
    with second.used():
        assert torch.equal(drawn(second, expected=expected), drawn(None, expected=0))


def test_another_seed_would_be_seen() -> None:
    other = GaussianTable(torch.Generator().manual_seed(4))
    assert not torch.equal(other.take(100), drawn(None, expected=0)[:100])


def test_words_come_as_the_stream_makes_them() -> None:
    """A chip is known by its seed: whole numbers of 64 bits have to be the raw words."""
    raw = np.random.SFC64(8).random_raw(1000)
    words = np.random.Generator(np.random.SFC64(8))
    drawn = words.integers(2**64 - 1, size=1000, dtype=np.uint64, endpoint=True)
    assert np.array_equal(raw, drawn)


def test_work_is_done_once_by_either_thread(threads: int) -> None:
    second, done = SecondThread(), []
    hold = threading.Event()
    with second.used():
        first = second.later(lambda: hold.wait(10) if threads == 2 else None)
        waiting = second.later(lambda: done.append(threading.current_thread().name))
        waiting.result()  # the second thread is busy, so it is done here
        hold.set()
        first.result()
    assert done == [threading.current_thread().name]


def test_the_second_thread_works_meanwhile() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        second, begun = SecondThread(), threading.Event()
        with second.used():

            def work() -> str:
                begun.set()
                return threading.current_thread().name

            name = second.later(work)
            assert begun.wait(10)
            assert torch.get_num_threads() == 1  # each of the two computes by itself
            assert name.result() != threading.current_thread().name
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


@pytest.mark.usefixtures("threads")
def test_an_error_comes_where_the_work_is_needed() -> None:
    second = SecondThread()
    with second.used():
        second.later(_fail).drop()
        failing = second.later(_fail)
        with pytest.raises(IndexError):
            failing.result()


def _fail() -> None:
    raise IndexError
