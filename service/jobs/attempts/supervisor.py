"""What a parent watches while its child works: the lease, a wish to cancel, the deadline."""

import threading
import time
from datetime import timedelta
from enum import Enum

from service.db.outage import AWAY
from service.db.repositories.jobs import JobRepository
from service.db.repositories.leases import LeaseRepository
from service.db.session import Database, clock
from service.jobs.attempts.attempt import Attempt
from service.jobs.attempts.fork_server import ChildProcess
from service.jobs.messages import Cancel, Lease, Pause
from service.settings import Settings

_LOOK = 0.3  # s between two looks at the job's row
_CANCEL_TIMEOUT = 30.0  # s in which a child stops by itself and puts the chip back
_GRACE = 120.0  # s beyond its own budget before a job is killed


class Decision(Enum):
    """Whether the child may go on, else why not; a value may become the job's reason."""

    GO_ON = "go on"
    STOPPING = "the service is being stopped"
    LEASE_LOST = "the lease of the chip was lost"
    TOO_LONG = "it did not stop when its time was over, and was killed"
    UNRESPONSIVE = "it did not stop when asked to, and was killed; the chip was not put back"


class Supervisor:
    """Watches one attempt. `check()` is called often, and asks the database now and then."""

    def __init__(
        self,
        attempt: Attempt,
        child: ChildProcess,
        database: Database,
        settings: Settings,
        stopping: threading.Event,
    ) -> None:
        """`stopping` is set when the service is being stopped."""
        self._attempt = attempt
        self._child = child
        self._database = database
        self._ttl = settings.lease_s
        self._handover = settings.handover_s
        self._stopping = stopping
        now = time.monotonic()
        self._next_look = now
        self._next_renewal = now
        self._held_until = now + self._ttl
        self._deadline = now + _allowed_seconds(attempt, settings)
        self._cancel_deadline: float | None = None
        self._handover_deadline: float | None = None

    def checkpoint_recorded(self) -> None:
        """Note that a checkpoint was recorded: a child that was asked for one need not go on."""
        if self._handover_deadline is not None:
            self._handover_deadline = 0.0

    def check(self) -> Decision:
        """Renew the lease when a third of it is over, pass on a wish to cancel, and decide."""
        now = time.monotonic()
        if self._stopping.is_set() and self._handed_over(now):
            return Decision.STOPPING
        if now >= self._deadline:
            return Decision.TOO_LONG
        if self._cancel_deadline is not None and now >= self._cancel_deadline:
            return Decision.UNRESPONSIVE
        try:
            return self._ask_database(now)
        except AWAY:
            return self._without_database(now)

    def _handed_over(self, now: float) -> bool:
        """Let the child finish its step and store a checkpoint, if that does not take too long."""
        if self._handover_deadline is None:
            self._child.send(Pause())
            self._handover_deadline = now + self._handover
        return now >= self._handover_deadline

    def _ask_database(self, now: float) -> Decision:
        if now >= self._next_renewal and not self._renewed(now):
            return Decision.LEASE_LOST
        if now >= self._next_look and not self._still_mine(now):
            return Decision.LEASE_LOST
        return Decision.GO_ON

    def _without_database(self, now: float) -> Decision:
        """Let the child work on while its lease lasts; then another may hold the chip."""
        self._next_look = self._next_renewal = now + _LOOK
        on_lease = self._attempt.job.chip_id is not None
        return Decision.LEASE_LOST if on_lease and now >= self._held_until else Decision.GO_ON

    def _renewed(self, now: float) -> bool:
        """Renew the lease of the chip and tell the child; False where the lease is lost."""
        if self._attempt.job.chip_id is None:
            self._next_renewal = float("inf")
            return True
        held = self._renew(self._attempt.job.chip_id)
        if held:
            self._held_until, self._next_renewal = now + self._ttl, now + self._ttl / 3
            self._child.send(Lease(until_s=self._held_until))
        return held

    def _renew(self, chip_id: str) -> bool:
        with self._database.writing() as session:
            return LeaseRepository(session).renew(
                chip_id, self._attempt.token, timedelta(seconds=self._ttl), clock(session)
            )

    def _still_mine(self, now: float) -> bool:
        """Pass on a wish to cancel; False where a later attempt has begun."""
        with self._database.reading() as session:
            jobs = JobRepository(session)
            status = jobs.attempt_status(self._attempt.job.id, self._attempt.token)
        self._next_look = now + _LOOK
        if status.cancel_requested and self._cancel_deadline is None:
            self._child.send(Cancel())
            self._cancel_deadline = now + _CANCEL_TIMEOUT
        return status.is_current


def _allowed_seconds(attempt: Attempt, settings: Settings) -> float:
    """Return the rest of the job's own budget with a grace, else what any job is allowed; in s."""
    settings_of_job = attempt.job.request.get("settings") or {}
    seconds = (settings_of_job.get("budget") or {}).get("seconds")
    spent = float((attempt.job.spent or {}).get("seconds", 0.0))
    if seconds is None:
        return settings.job_limit_s
    return max(0.0, float(seconds) - spent) + _GRACE
