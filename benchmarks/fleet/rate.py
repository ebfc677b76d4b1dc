"""How often something was done in a second, and who kept the processor busy meanwhile."""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

from benchmarks.fleet.town import Town, processor_seconds, processor_shares


class Rate(NamedTuple):
    """So often, under a load: so many that wait, or so many at a time."""

    load: int
    number: int
    seconds: float
    processor: dict[str, float]  # shares of one core

    @property
    def a_second(self) -> float:
        return self.number / self.seconds

    def told(self) -> dict[str, Any]:
        """For JSON."""
        return self._asdict() | {"a_second": self.a_second}


def timed(town: Town, load: int, work: Callable[[], int]) -> Rate:
    """Work says how often it did what is counted."""
    before, began = processor_seconds(town), time.monotonic()
    number, took = work(), time.monotonic() - began
    return Rate(load, number, took, processor_shares(before, processor_seconds(town), took))
