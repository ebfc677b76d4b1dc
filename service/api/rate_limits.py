"""How often a key may ask, and how often an address may present a wrong key."""

import time

from limits import RateLimitItem, RateLimitItemPerMinute, RateLimitItemPerSecond
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter

from service.request_errors import TooManyRequestsError

_LOGGED = RateLimitItemPerMinute(5)  # lines and audit events about one address
_LOGGED_IN_ALL = RateLimitItemPerMinute(60)  # so that many addresses cannot fill the disk


class RateLimits:
    """Counts of one process, in memory: a restart forgets them."""

    def __init__(self, requests_per_s: int, wrong_keys_per_minute: int) -> None:
        """`requests_per_s` is for each key, and for each address that sends none."""
        self._limiter = SlidingWindowCounterRateLimiter(MemoryStorage())
        self._requests = RateLimitItemPerSecond(requests_per_s)
        self._wrong_keys = RateLimitItemPerMinute(wrong_keys_per_minute)

    def count_key(self, key_id: str) -> None:
        """Count a request of a key. Raises TooManyRequestsError if it asks too often."""
        self._count(self._requests, "key", key_id)

    def count_address(self, address: str) -> None:
        """Count a request without a valid key. Raises TooManyRequestsError if there are many."""
        self._count(self._requests, "address", address)

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
