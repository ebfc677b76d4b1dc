"""Numbers and times as text for people: with a unit, and significant digits only."""

import math
from collections.abc import Mapping
from datetime import datetime, timedelta

DASH = "–"


def percent(value: float | None, digits: int = 1) -> str:
    """Format a fraction in [0, 1] as a percentage."""
    return DASH if value is None else f"{100 * value:.{digits}f}\u202f%"


def points(value: float | None) -> str:
    """Format a difference of two fractions in percentage points, with its sign."""
    return DASH if value is None else f"{100 * value:+.1f} pt"


def score_text(score: float | None) -> str:
    """Format a drift score with two decimals, which is how repeatable a probe is."""
    return DASH if score is None else f"{score:.2f}"


def loss_text(loss: Mapping[str, float] | None) -> str:
    """Format a predicted loss of accuracy: `about 3 points lost, 1 to 6`."""
    if loss is None:
        return DASH
    if loss["high"] < 1:
        return "less than a point lost"
    about, low, high = (_few_digits(loss[name]) for name in ("points", "low", "high"))
    return f"about {about} {'point' if about == '1' else 'points'} lost, {low} to {high}"


def loss_range(loss: Mapping[str, float] | None) -> str:
    """Format a predicted loss of accuracy for a table, in points: `3 (1 to 6)`, or `below 1`."""
    if loss is None:
        return DASH
    if loss["high"] < 1:
        return "below 1"
    about, low, high = (_few_digits(loss[name]) for name in ("points", "low", "high"))
    return f"{about} ({low} to {high})"


def _few_digits(value: float) -> str:
    """Format a figure whose second digit is not known: below one it has a decimal."""
    return f"{value:.0f}" if value >= 0.95 or value < 0.05 else f"{value:.1f}"


def amount(value: float | None) -> str:
    """Format a count or a ratio, with thin spaces between thousands."""
    if value is None or not math.isfinite(value):
        return DASH
    if value != int(value):
        return f"{value:.2f}" if abs(value) < 10 else f"{value:,.1f}".replace(",", "\u202f")
    return f"{int(value):,}".replace(",", "\u202f")


def large(value: float | None) -> str:
    """Format a large count with three digits and a prefix: `23.1 k`, `1.20 M`."""
    if value is None or not math.isfinite(value):
        return DASH
    for prefix in ("", "k", "M", "G"):
        if abs(value) < 999.5 or prefix == "G":
            break
        value /= 1000
    if not prefix:
        return f"{value:.0f}"
    digits = 2 if abs(value) < 9.995 else 1 if abs(value) < 99.95 else 0
    return f"{value:,.{digits}f}\u202f{prefix}".replace(",", "\u202f")


def seconds(value: float | None) -> str:
    """Format a duration in seconds, minutes or hours."""
    if value is None or not math.isfinite(value):
        return DASH
    if value < 10:
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    if minutes == 0:
        return f"{rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def minutes(value: float | None) -> str:
    """Format a duration that goes on, in whole minutes: a text that seldom changes."""
    if value is None or not math.isfinite(value):
        return DASH
    hours, rest = divmod(int(value // 60), 60)
    if not hours:
        return f"{rest} min" if rest else "under 1 min"
    return f"{hours} h {rest} min"


def ago(then: datetime | None, now: datetime) -> str:
    """Format how long ago a time was, rounded down; the tooltip shows the exact time."""
    if then is None:
        return DASH
    passed = max(now - then, timedelta(0))
    if passed < timedelta(minutes=1):
        return "now"
    if passed < timedelta(hours=1):
        return f"{passed // timedelta(minutes=1)} min ago"
    if passed < timedelta(days=1):
        return f"{passed // timedelta(hours=1)} h ago"
    return f"{passed.days} d ago"


def ahead(then: datetime | None, now: datetime) -> str:
    """Format in how long a time is, rounded down; `now` once it has come."""
    if then is None:
        return DASH
    left = then - now
    if left <= timedelta(0):
        return "now"
    if left < timedelta(minutes=1):
        return "within a minute"
    if left < timedelta(hours=1):
        return f"in {left // timedelta(minutes=1)} min"
    if left < timedelta(days=1):
        return f"in {left // timedelta(hours=1)} h"
    return f"in {left.days} d"


def instant(then: datetime | None) -> str:
    """Format a time in UTC, to the second."""
    return DASH if then is None else f"{then:%Y-%m-%d %H:%M:%S} UTC"


def short_id(identifier: str) -> str:
    """Return the end of an id; the start of a UUIDv7 is a time, the same for neighbours."""
    return identifier[-8:]


def plural(count: int, word: str) -> str:
    """Format a count with its noun: `1 chip`, `5 chips`."""
    return f"{count} {word}" if count == 1 else f"{count} {word}s"
