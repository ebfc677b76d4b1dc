"""What a parent watches while its child works: the lease, a wish to cancel, the deadline."""

import threading
import time
from datetime import UTC, datetime, timedelta
from enum import Enum

from service.db.repositories.jobs import JobRepository
from service.db.repositories.leases import LeaseRepository
from service.db.session import Database
from service.jobs.fork_server import ChildProcess
from service.jobs.messages import Cancel, Lease
from service.jobs.seat import Seat
from service.settings import Settings

_LOOK = 0.3  # s between two looks at the job's row
_CANCEL_PATIENCE = 30.0  # s in which a child stops by itself and puts the chip back
_GRACE = 120.0  # s beyond its own budget before a job is killed


class Verdict(Enum):
    """Whether the child may go on."""

    GO_ON = "go on"
    STOPPING = "the service is being stopped"
    LEASE_LOST = "the lease of the chip was lost"
    TOO_LONG = "it did not stop when its time was over, and was killed"
    DEAF = "it did not stop when asked to, and was killed; the chip was not put back"


class Supervisor:
    """Of one attempt. `look()` is called often, and does something only when it is time."""

    def __init__(
        self,
        seat: Seat,
        child: ChildProcess,
        database: Database,
        settings: Settings,
        stopping: threading.Event,
    ) -> None:
        self._seat = seat
        self._child = child
        self._database = database
        self._ttl = settings.lease_s
        self._stopping = stopping
        now = time.monotonic()
        self._next_look = now
        self._next_renewal = now
        self._deadline = now + _allowed_seconds(seat, settings)
        self._cancel_deadline: float | None = None

    def look(self) -> Verdict:
        """Renew the lease when a third of it is over; pass on a wish to cancel."""
        now = time.monotonic()
        if self._stopping.is_set():
            return Verdict.STOPPING
        if now >= self._deadline:
            return Verdict.TOO_LONG
        if self._cancel_deadline is not None and now >= self._cancel_deadline:
            return Verdict.DEAF
        if now >= self._next_renewal and not self._renewed(now):
            return Verdict.LEASE_LOST
        if now >= self._next_look:
            self._pass_on_cancel(now)
        return Verdict.GO_ON

    def _renewed(self, now: float) -> bool:
        self._next_renewal = now + self._ttl / 3
        if self._seat.job.chip_id is None:
            return True
        held = self._renew(self._seat.job.chip_id)
        if held:
            self._child.tell(Lease(until_s=now + self._ttl))
        return held

    def _renew(self, chip_id: str) -> bool:
        with self._database.writing() as session:
            return LeaseRepository(session).renew(
                chip_id, self._seat.token, timedelta(seconds=self._ttl), datetime.now(UTC)
            )

    def _pass_on_cancel(self, now: float) -> None:
        self._next_look = now + _LOOK
        if self._cancel_deadline is None and self._cancel_requested():
            self._child.tell(Cancel())
            self._cancel_deadline = now + _CANCEL_PATIENCE

    def _cancel_requested(self) -> bool:
        with self._database.reading() as session:
            return JobRepository(session).cancel_requested(self._seat.job.id)


def _allowed_seconds(seat: Seat, settings: Settings) -> float:
    """The job's own budget of seconds with a grace, or what the service allows any job."""
    settings_of_job = seat.job.request.get("settings") or {}
    seconds = (settings_of_job.get("budget") or {}).get("seconds")
    spent = float((seat.job.spent or {}).get("seconds", 0.0))
    if seconds is None:
        return settings.job_limit_s
    return max(0.0, float(seconds) - spent) + _GRACE
