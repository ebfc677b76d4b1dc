"""Why jobs wait: the sentences that are stored, and which of them still hold when they are read."""

from datetime import datetime, timedelta
from typing import NamedTuple

_GOES_ON = "it goes on from its checkpoint"
_OFFLINE = "its chip is offline"
BUSY = "its chip is driven by somebody else"
WAS_OFFLINE = f"its chip was offline; {_GOES_ON}"
WORKER_STOPPED = f"its worker was stopped; {_GOES_ON}"
LEASE_GONE = f"the lease of its chip was lost; {_GOES_ON}"
# A job that is due is looked at again within this time, unless something else holds it up.
_LOOKED_AT_WITHIN = timedelta(seconds=5)


def offline(silent: str) -> str:
    """Return the reason of a job whose chip is offline; `silent` says why it is."""
    return f"{_OFFLINE}: {silent}"


class Situation(NamedTuple):
    """What is known now of a job that waits, and of its chip."""

    silent: str | None = None  # why its chip is offline
    driven: bool = False  # a job drives its chip
    held_until: datetime | None = None  # it is not dispatched again before this time
    called_at: datetime | None = None  # when it was dispatched


def current_reason(stored: str | None, found: Situation, now: datetime) -> str | None:
    """Return why a job waits now; None where the stored reason is over and none is known.

    A reason that says how the last attempt ended stays.
    """
    if found.silent is not None:
        return offline(found.silent)
    if stored is None or stored.startswith(_OFFLINE):
        return None
    if stored.endswith(_GOES_ON) or (stored == BUSY and found.driven):
        return stored
    looked_at = max((at for at in (found.held_until, found.called_at) if at), default=None)
    recent = looked_at is not None and now < looked_at + _LOOKED_AT_WITHIN
    return stored if recent else None
