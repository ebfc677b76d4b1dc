"""Round ticks of the axes of plots: of times, and of figures."""

import math
from datetime import UTC, datetime
from typing import NamedTuple

_MINUTE, _HOUR, _DAY = 60, 3600, 86_400
_STEPS = (
    *(_MINUTE * n for n in (1, 2, 5, 10, 15, 30)),
    *(_HOUR * n for n in (1, 2, 3, 6, 12)),
    *(_DAY * n for n in (1, 2, 7, 14, 30, 91, 182, 365, 730, 1825)),
)


class Tick(NamedTuple):
    """A round value of an axis, and how it is written."""

    value: float
    text: str


def time_ticks(first: datetime, last: datetime, most: int) -> tuple[Tick, ...]:
    """Return at most `most` round times of a range, as seconds since 1970, written in UTC."""
    begin, end = first.timestamp(), last.timestamp()
    fitting = (step for step in _STEPS if (end - begin) / step <= most - 1)
    step = next(fitting, _STEPS[-1] * math.ceil((end - begin) / _STEPS[-1] / max(most - 1, 1)))
    count = math.floor(end / step) - math.ceil(begin / step) + 1
    values = [step * (math.ceil(begin / step) + n) for n in range(count)]
    return tuple(Tick(value, _written(value, step)) for value in values)


def ticks_within(low: float, high: float, most: int) -> tuple[float, ...]:
    """Return at most `most` multiples of 1, 2 or 5 times a power of ten in a range."""
    raw = (high - low) / max(most - 1, 1)
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= raw * (1 - 1e-9))
    first = math.ceil(low / step - 1e-9)
    count = math.floor(high / step + 1e-9) - first + 1
    return tuple(round(step * (first + n), 10) for n in range(count))


def _written(value: float, step: float) -> str:
    time = datetime.fromtimestamp(value, UTC)
    if step < _DAY:
        return f"{time:%H:%M}" if value % _DAY else f"{time.day} {time:%b}"
    return f"{time.day} {time:%b}" if step < 91 * _DAY else f"{time:%b %Y}"
