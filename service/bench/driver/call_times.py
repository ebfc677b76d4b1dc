"""How long an agent took to answer, as measured by the driver of its chip."""

from collections.abc import Mapping
from typing import NamedTuple, Protocol, runtime_checkable


class CallTime(NamedTuple):
    """Calls of one verb, and their total time from request to whole answer, retries included."""

    calls: int
    seconds: float


class CallTimes:
    """Adds up the call times of one driver. Used by one thread."""

    def __init__(self) -> None:
        self._by_verb: dict[str, CallTime] = {}

    def add(self, verb: str, seconds: float) -> None:
        """Add one call that was answered."""
        calls, before = self._by_verb.get(verb, CallTime(0, 0.0))
        self._by_verb[verb] = CallTime(calls + 1, before + seconds)

    def so_far(self) -> Mapping[str, CallTime]:
        """Return the call times of each verb until now."""
        return dict(self._by_verb)


@runtime_checkable
class Timed(Protocol):
    """A chip behind an agent: its driver measures how long calls take."""

    @property
    def call_times(self) -> Mapping[str, CallTime]:
        """Call times of each verb until now."""
        ...


def call_times(backend: object) -> Mapping[str, CallTime]:
    """Return the call times of each verb; empty for a chip in this process."""
    return backend.call_times if isinstance(backend, Timed) else {}
