"""How often a key may ask, and how often an address may present a wrong key."""

import time
from typing import NamedTuple

from limits import RateLimitItem, RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter

from service.request_errors import TooManyRequestsError

_LOGGED = RateLimitItemPerMinute(5)  # lines and audit events about one address
_LOGGED_IN_ALL = RateLimitItemPerMinute(60)  # so that many addresses cannot fill the disk
_COUNTED = 10_000  # keys and addresses at a time


class RateLimits:
    """Counts of one process, in memory: a restart forgets them."""

    def __init__(self, requests_per_s: int, wrong_keys_per_minute: int) -> None:
        """`requests_per_s` is for each key, and for each address that sends none."""
        self._limiter = SlidingWindowCounterRateLimiter(MemoryStorage())
        self._requests = RequestRate(requests_per_s)
        self._wrong_keys = RateLimitItemPerMinute(wrong_keys_per_minute)

    def count_key(self, key_id: str) -> None:
        """Count a request of a key. Raises TooManyRequestsError if it asks too often."""
        self._requests.count(f"key {key_id}")

    def count_address(self, address: str) -> None:
        """Count a request without a valid key. Raises TooManyRequestsError if there are many."""
        self._requests.count(f"address {address}")

    def count_wrong_key(self, address: str) -> None:
        """Count a key that is not valid. Raises TooManyRequestsError if there are many."""
        self._count(self._wrong_keys, "wrong key", address)

    def count_line(self, address: str) -> bool:
        """Count a line of the log about an address; return False if it has had enough of them."""
        mine = self._limiter.hit(_LOGGED, "logged", address)
        return mine and self._limiter.hit(_LOGGED_IN_ALL, "logged in all")

    def _count(self, item: RateLimitItem, what: str, whose: str) -> None:
        if self._limiter.hit(item, what, whose):
            return
        reset = self._limiter.get_window_stats(item, what, whose).reset_time
        raise TooManyRequestsError(max(1, round(reset - time.time())))


class RequestRate:
    """Requests of each client within a second that slides: every request is counted here.

    `limits` would start a thread for many of them, to forget its counts; this takes no thread.
    """

    def __init__(self, most: int) -> None:
        """`most` requests of one client are let through in any second."""
        self._most = most
        self._counts: dict[str, _Count] = {}

    def count(self, client: str) -> None:
        """Count a request. Raises TooManyRequestsError if there are too many, and counts none."""
        now = time.monotonic()
        second = int(now)
        before = self._counts.get(client, _NONE)
        if before.second != second:
            earlier = before.now if before.second == second - 1 else 0
            before = _Count(second, earlier, 0)
        # Those of the second before count by the part of it that is still within a second.
        if before.earlier * (second + 1 - now) + before.now + 1 > self._most:
            raise TooManyRequestsError(1)
        if len(self._counts) >= _COUNTED and client not in self._counts:
            self._forget(second)
        self._counts[client] = before._replace(now=before.now + 1)

    def _forget(self, second: int) -> None:
        """Forget whoever has not asked for a second; all, if that is nobody."""
        kept = {who: one for who, one in self._counts.items() if one.second >= second - 1}
        self._counts = kept if len(kept) < _COUNTED else {}


class _Count(NamedTuple):
    """Requests of one client in a second of the clock, and in the second before it."""

    second: int
    earlier: int
    now: int


_NONE = _Count(-2, 0, 0)
