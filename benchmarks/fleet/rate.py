"""Rates per second, and which process used the processor meanwhile."""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

from benchmarks.fleet.local_fleet import LocalFleet, processor_seconds, processor_shares


class Rate(NamedTuple):
    """A count over some seconds under a load: jobs that wait, or writers at a time."""

    load: int
    number: int
    seconds: float
    processor: dict[str, float]  # shares of one core

    @property
    def a_second(self) -> float:
        return self.number / self.seconds

    def as_json(self) -> dict[str, Any]:
        """For JSON."""
        return self._asdict() | {"a_second": self.a_second}


def timed(fleet: LocalFleet, load: int, work: Callable[[], int]) -> Rate:
    """Time the work, which returns how often it did what is counted."""
    before, began = processor_seconds(fleet), time.monotonic()
    number, took = work(), time.monotonic() - began
    return Rate(load, number, took, processor_shares(before, processor_seconds(fleet), took))
