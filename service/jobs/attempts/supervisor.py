"""What a parent watches while its child works: the lease, a wish to cancel, the deadline."""

import threading
import time
from datetime import timedelta
from enum import Enum

from service.db.outage import AWAY
from service.db.repositories.jobs import JobRepository
from service.db.repositories.leases import LeaseRepository
from service.db.session import Database, clock
from service.jobs.attempts.attempt import Seat
from service.jobs.attempts.fork_server import ChildProcess
from service.jobs.messages import Cancel, Lease, Pause
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
        self._handover = settings.handover_s
        self._stopping = stopping
        now = time.monotonic()
        self._next_look = now
        self._next_renewal = now
        self._held_until = now + self._ttl
        self._deadline = now + _allowed_seconds(seat, settings)
        self._cancel_deadline: float | None = None
        self._handover_deadline: float | None = None

    def kept(self) -> None:
        """A checkpoint was recorded: where one was asked for, there is nothing to wait for."""
        if self._handover_deadline is not None:
            self._handover_deadline = 0.0

    def look(self) -> Verdict:
        """Renew the lease when a third of it is over; pass on a wish to cancel."""
        now = time.monotonic()
        if self._stopping.is_set() and self._handed_over(now):
            return Verdict.STOPPING
        if now >= self._deadline:
            return Verdict.TOO_LONG
        if self._cancel_deadline is not None and now >= self._cancel_deadline:
            return Verdict.DEAF
        try:
            return self._ask_database(now)
        except AWAY:
            return self._without_database(now)

    def _handed_over(self, now: float) -> bool:
        """The child finishes its step and keeps a checkpoint, if that does not take too long."""
        if self._handover_deadline is None:
            self._child.tell(Pause())
            self._handover_deadline = now + self._handover
        return now >= self._handover_deadline

    def _ask_database(self, now: float) -> Verdict:
        if now >= self._next_renewal and not self._renewed(now):
            return Verdict.LEASE_LOST
        if now >= self._next_look and not self._still_mine(now):
            return Verdict.LEASE_LOST
        return Verdict.GO_ON

    def _without_database(self, now: float) -> Verdict:
        """The child works on while its lease lasts; then another may hold the chip."""
        self._next_look = self._next_renewal = now + _LOOK
        on_lease = self._seat.job.chip_id is not None
        return Verdict.LEASE_LOST if on_lease and now >= self._held_until else Verdict.GO_ON

    def _renewed(self, now: float) -> bool:
        if self._seat.job.chip_id is None:
            self._next_renewal = float("inf")
            return True
        held = self._renew(self._seat.job.chip_id)
        if held:
            self._held_until, self._next_renewal = now + self._ttl, now + self._ttl / 3
            self._child.tell(Lease(until_s=self._held_until))
        return held

    def _renew(self, chip_id: str) -> bool:
        with self._database.writing() as session:
            return LeaseRepository(session).renew(
                chip_id, self._seat.token, timedelta(seconds=self._ttl), clock(session)
            )

    def _still_mine(self, now: float) -> bool:
        """Pass on a wish to cancel; False where a later attempt has begun."""
        with self._database.reading() as session:
            status = JobRepository(session).attempt_status(self._seat.job.id, self._seat.token)
        self._next_look = now + _LOOK
        if status.cancel_requested and self._cancel_deadline is None:
            self._child.tell(Cancel())
            self._cancel_deadline = now + _CANCEL_PATIENCE
        return status.is_current


def _allowed_seconds(seat: Seat, settings: Settings) -> float:
    """The job's own budget of seconds with a grace, or what the service allows any job."""
    settings_of_job = seat.job.request.get("settings") or {}
    seconds = (settings_of_job.get("budget") or {}).get("seconds")
    spent = float((seat.job.spent or {}).get("seconds", 0.0))
    if seconds is None:
        return settings.job_limit_s
    return max(0.0, float(seconds) - spent) + _GRACE
