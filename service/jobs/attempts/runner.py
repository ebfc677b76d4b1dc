"""The job runner of one executor: a job waits for a slot and is tried until it has ended."""

import heapq
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import structlog
from sqlalchemy.orm import Session

from service.db.outage import AWAY
from service.db.repositories.dispatches import dispatch_name, requeue
from service.db.repositories.jobs import JobRepository
from service.db.session import Database, clock
from service.jobs.attempts.attempt import Attempt, DispatchTicket, Holder, Refusal, begin_attempt
from service.jobs.attempts.attempt_runner import AttemptRunner
from service.jobs.attempts.fork_server import ForkServer
from service.jobs.errors import ServiceStoppingError
from service.jobs.kinds.registry import KINDS, JobKinds
from service.logs import in_a_line, warn_in_a_line
from service.settings import Settings

_PAUSE = 0.3  # s between two attempts, and two looks at a chip that somebody else drives
Rank = tuple[int, str]  # priority, then the time-ordered id: the smallest goes first
_LOOK_LATER = timedelta(minutes=1)  # before a job that could not begin is dispatched again
_BROKE_OFF = "job runner: an attempt broke off, the job is tried again"


class JobRunner:
    """Runs jobs of one database, each in a child, as many at once as there are slots."""

    def __init__(
        self, settings: Settings, database: Database, executor: str, kinds: JobKinds = KINDS
    ) -> None:
        self._database = database
        self._holder = Holder(executor, timedelta(seconds=settings.lease_s))
        self._slots = Slots(settings.parallel_jobs)
        self._children = ForkServer(kinds.loads())
        self._stopping = threading.Event()
        self._attempts = AttemptRunner(settings, database, kinds, self._children, self._stopping)
        self._changed = threading.Condition()
        self._here: list[DispatchTicket] = []  # of those of one job, the first runs

    def warm_up(self) -> None:
        """Make the fork server load torch; return at once."""
        self._children.warm_up()

    def run(self, ticket: DispatchTicket) -> None:
        """Run the job until it has ended or has to wait, over as many attempts as it takes.

        Raises ServiceStoppingError when the service is stopped before that, JobTakenOverError when
        another executor has taken the job over.
        """
        with self._alone(ticket):
            try:
                self._wait_for_children()
                while self._try(ticket) not in (Refusal.OVER, Refusal.LATER):
                    if self._stopping.wait(_PAUSE):
                        raise ServiceStoppingError()
            except ServiceStoppingError:
                self._hand_over(ticket)
                raise

    def dispatches(self) -> list[str]:
        """Return the names of the dispatches that run or wait here."""
        with self._changed:
            return [dispatch_name(ticket.job_id, ticket.number) for ticket in self._here]

    def stop(self) -> None:
        """Start nothing more, and break off what runs: other executors or the next start go on."""
        self._stopping.set()
        self._slots.stop()

    def wait(self) -> None:
        """Wait, after `stop`, until no attempt is left that could write."""
        with self._changed:
            self._changed.wait_for(lambda: not self._here)

    def _wait_for_children(self) -> None:
        while not self._children.is_warm(_PAUSE):
            if self._stopping.is_set():
                raise ServiceStoppingError()

    def _try(self, ticket: DispatchTicket) -> Attempt | Refusal | None:
        """Make one attempt. An error of the service itself leaves the job to its next attempt."""
        begun = False
        try:
            with self._slots.one(self._rank(ticket.job_id)):
                attempt = self._begin(ticket)
                begun = True
                if isinstance(attempt, Attempt):
                    self._attempts.run(attempt)
            return attempt
        except AWAY as error:
            warn_in_a_line(__name__, _BROKE_OFF, error, job_id=ticket.job_id)
            return None
        except Exception:
            structlog.get_logger(__name__).exception(_BROKE_OFF, job_id=ticket.job_id)
            return None if begun else self._put_off(ticket)

    def _put_off(self, ticket: DispatchTicket) -> Refusal | None:
        """Leave the slot to other jobs: what stands in this job's row lets no attempt begin.

        None where the database is away: then the job is tried again here.
        """

        def put_off(session: Session) -> None:
            until = clock(session) + _LOOK_LATER
            requeue(session, ticket.job_id, ticket.number, held_until=until)

        try:
            self._attempts.write(put_off)
        except AWAY as error:
            warn_in_a_line(__name__, _BROKE_OFF, error, job_id=ticket.job_id)
            return None
        return Refusal.LATER

    @contextmanager
    def _alone(self, ticket: DispatchTicket) -> Iterator[None]:
        """Make a job that is dispatched again wait while it still runs here."""
        with self._changed:
            self._here.append(ticket)
            self._changed.wait_for(lambda: self._is_first(ticket))
        try:
            yield
        finally:
            with self._changed:
                self._here.remove(ticket)
                self._changed.notify_all()

    def _is_first(self, ticket: DispatchTicket) -> bool:
        return ticket is next(one for one in self._here if one.job_id == ticket.job_id)

    def _rank(self, job_id: str) -> Rank:
        with self._database.reading() as session:
            return (JobRepository(session).get(job_id).priority, job_id)

    def _begin(self, ticket: DispatchTicket) -> Attempt | Refusal:
        with self._database.writing() as session:
            return begin_attempt(session, ticket, self._holder, clock(session))

    def _hand_over(self, ticket: DispatchTicket) -> None:
        """Requeue the job. Without a database, others find out when this executor is silent."""
        try:
            self._attempts.write(lambda session: requeue(session, ticket.job_id, ticket.number))
        except AWAY as error:
            structlog.get_logger(__name__).warning(
                "job runner: a job was not requeued, it waits until this executor counts as dead",
                job_id=ticket.job_id,
                error=in_a_line(error),
            )


class Slots:
    """A fixed number of slots; a job that waits for its chip holds none."""

    def __init__(self, count: int) -> None:
        self._free = count
        self._waiting: list[Rank] = []
        self._stopping = False
        self._changed = threading.Condition()

    @contextmanager
    def one(self, rank: Rank) -> Iterator[None]:
        """Wait for a slot and hold it. Raises ServiceStoppingError once `stop` was called."""
        self._acquire(rank)
        try:
            yield
        finally:
            self._release()

    @property
    def waiting(self) -> int:
        """The number of jobs that wait for a slot."""
        return len(self._waiting)

    def stop(self) -> None:
        """Give out no slot any more."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()

    def _acquire(self, rank: Rank) -> None:
        with self._changed:
            heapq.heappush(self._waiting, rank)
            self._changed.wait_for(lambda: self._stopping or self._is_next(rank))
            if self._stopping:
                raise ServiceStoppingError()
            heapq.heappop(self._waiting)
            self._free -= 1
            self._changed.notify_all()

    def _release(self) -> None:
        with self._changed:
            self._free += 1
            self._changed.notify_all()

    def _is_next(self, rank: Rank) -> bool:
        return self._free > 0 and self._waiting[0] == rank
