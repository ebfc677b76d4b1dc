"""How long an agent took to answer, as whoever drives its chip has measured it."""

from collections.abc import Mapping
from typing import NamedTuple, Protocol, runtime_checkable


class CallTime(NamedTuple):
    """Of one verb, from the question to the whole answer, tries that failed included."""

    calls: int
    seconds: float


class CallTimes:
    """Sums up the calls of one driver. Used by one thread."""

    def __init__(self) -> None:
        self._found: dict[str, CallTime] = {}

    def add(self, verb: str, seconds: float) -> None:
        """One call that was answered."""
        calls, before = self._found.get(verb, CallTime(0, 0.0))
        self._found[verb] = CallTime(calls + 1, before + seconds)

    def so_far(self) -> Mapping[str, CallTime]:
        """By verb."""
        return dict(self._found)


@runtime_checkable
class Timed(Protocol):
    """A chip whose calls take time on a line."""

    @property
    def call_times(self) -> Mapping[str, CallTime]: ...


def call_times(backend: object) -> Mapping[str, CallTime]:
    """Those of the chip behind an agent; of one in this process nothing."""
    return backend.call_times if isinstance(backend, Timed) else {}
