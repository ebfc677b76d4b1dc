"""A client is let through as often as it may ask in any second, and no more."""

import time

import pytest

from service.api.rate_limits import RequestRate
from service.request_errors import TooManyRequestsError

MOST = 10


class Clock:
    """A clock that is set by hand."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(time, "monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def let_through(rate: RequestRate, client: str, times: int) -> int:
    """How many of so many requests at one moment are let through."""
    passed = 0
    for _ in range(times):
        try:
            rate.count(client)
        except TooManyRequestsError:
            continue
        passed += 1
    return passed


def test_a_client_has_its_requests_in_a_second(clock: Clock) -> None:
    rate = RequestRate(MOST)
    assert let_through(rate, "a", MOST + 5) == MOST
    assert let_through(rate, "b", 1) == 1  # each has its own
    clock.now += 0.9
    assert let_through(rate, "a", 5) == 0


def test_the_second_slides(clock: Clock) -> None:
    rate = RequestRate(MOST)
    clock.now += 0.95  # late in a second of the clock
    assert let_through(rate, "a", MOST) == MOST
    clock.now += 0.1  # early in the next: nearly all of them still count
    assert let_through(rate, "a", MOST) <= 1
    clock.now += 0.5  # as many as have left the second that slides
    assert MOST / 2 - 2 <= let_through(rate, "a", MOST) <= MOST / 2 + 1
    clock.now += 2.0
    assert let_through(rate, "a", MOST + 5) == MOST


def test_what_is_kept_of_clients_is_bounded(clock: Clock) -> None:
    rate = RequestRate(MOST)
    for number in range(25_000):
        clock.now += 0.001
        rate.count(f"client {number}")
    assert len(rate._counts) <= 10_000
