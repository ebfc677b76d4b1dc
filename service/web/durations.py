"""Durations as people type and read them: `6 h`, `30 min`, `7 d`."""

import re

_UNITS = {"d": 86_400.0, "h": 3600.0, "min": 60.0, "s": 1.0}
_TYPED = re.compile(r"(\d+(?:\.\d+)?)\s*(d|h|min|s)")
_COARSE = (("d", 86_400.0), ("h", 3600.0), ("min", 60.0))  # each from two of it on


def read_duration(text: str) -> float:
    """Return the seconds of a duration such as `90 s`. Raises ValueError."""
    found = _TYPED.fullmatch(text.strip())
    if found is None:
        raise ValueError("write a number and a unit, such as 90 s, 30 min, 6 h or 7 d")
    return float(found[1]) * _UNITS[found[2]]


def write_duration(seconds: float | None) -> str:
    """Return a duration in the largest unit that it is a whole number of; empty for None.

    `read_duration` reads the same seconds from it.
    """
    if seconds is None:
        return ""
    for unit, size in _UNITS.items():
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds!r} s"


def about(seconds: float) -> str:
    """Return a duration to two digits or so, in a unit of which there are two or more."""
    for unit, size in _COARSE:
        if seconds >= 2 * size:
            count = seconds / size
            return f"{count:.0f} {unit}" if count >= 10 else f"{count:.1f} {unit}"
    return f"{seconds:.0f} s"
