"""One job, from the free slot to its last row: the parent's side."""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import structlog
from sqlalchemy.orm import Session

from ltl_core.errors import LeaseLostError
from service.artifacts import ArtifactStore
from service.db.outage import AWAY, write_patiently
from service.db.repositories.jobs import JobRepository
from service.db.repositories.turns import take_back, turn_name
from service.db.session import Database, clock
from service.errors import AttemptSupersededError, ServiceError
from service.jobs.attempts.attempt import (
    Claim,
    Holder,
    Refusal,
    Seat,
    leave_seat,
    lose_seat,
    release,
    take_seat,
)
from service.jobs.attempts.describe import Describer
from service.jobs.attempts.fork_server import ChildProcess, ForkServer
from service.jobs.attempts.recorder import Recorder
from service.jobs.attempts.slots import Slots
from service.jobs.attempts.superseded_blocks import Leftovers
from service.jobs.attempts.supervisor import Supervisor, Verdict
from service.jobs.errors import ServiceStoppingError
from service.jobs.health import DriftThresholds
from service.jobs.kinds.registry import KINDS, JobKinds
from service.jobs.messages import Checkpointed, Ended, House, Logged, Progressed
from service.logs import in_a_line, warn_in_a_line
from service.settings import Settings
from service.states import JobStatus

_PAUSE = 0.3  # s between two attempts, and two looks at a chip that somebody else drives
_LISTEN = 0.1  # s

Message = Progressed | Logged | Checkpointed | Ended


class JobRunner:
    """Runs jobs of one database, each in a child, as many at once as there are slots."""

    def __init__(
        self, settings: Settings, database: Database, executor: str, kinds: JobKinds = KINDS
    ) -> None:
        self._settings = settings
        self._kinds = kinds
        self._database = database
        self._house = house_of(settings)
        self._artifacts = ArtifactStore(settings.artifacts_dir)
        self._holder = Holder(executor, timedelta(seconds=settings.lease_s))
        self._slots = Slots(settings.parallel_jobs)
        self._children = ForkServer()
        self._stopping = threading.Event()
        self._changed = threading.Condition()
        self._here: list[Claim] = []  # of those of one job, the first runs

    def warm_up(self) -> None:
        """Load torch where the children come from."""
        self._children.warm_up()

    def run(self, claim: Claim) -> None:
        """Run the job until it has ended or has to wait, over as many attempts as it takes.

        Raises ServiceStoppingError when the service is stopped before that, JobTakenOverError when
        another executor has taken the job over.
        """
        with self._alone(claim):
            try:
                self._wait_for_children()
                while self._try(claim) not in (Refusal.OVER, Refusal.LATER):
                    if self._stopping.wait(_PAUSE):
                        raise ServiceStoppingError()
            except ServiceStoppingError:
                self._hand_over(claim)
                raise

    def _wait_for_children(self) -> None:
        while not self._children.is_warm(_PAUSE):
            if self._stopping.is_set():
                raise ServiceStoppingError()

    def _try(self, claim: Claim) -> Seat | Refusal | None:
        """One attempt. An error of the service itself leaves the job to its next attempt."""
        try:
            with self._slots.one(self._rank(claim.job_id)):
                seat = self._begin(claim)
                if isinstance(seat, Seat):
                    self._attempt(seat)
            return seat
        except AWAY as error:
            warn_in_a_line(__name__, "an attempt broke off", error, job_id=claim.job_id)
            return None
        except Exception:
            structlog.get_logger(__name__).exception("an attempt broke off", job_id=claim.job_id)
            return None

    def turns(self) -> list[str]:
        """The names of those that are being worked on, or wait here."""
        with self._changed:
            return [turn_name(claim.job_id, claim.turn) for claim in self._here]

    def stop(self) -> None:
        """Start nothing more; break off what runs. Others go on with it, or the next start."""
        self._stopping.set()
        self._slots.stop()

    def wait(self) -> None:
        """After `stop`: until no attempt is left that could write."""
        with self._changed:
            self._changed.wait_for(lambda: not self._here)

    @contextmanager
    def _alone(self, claim: Claim) -> Iterator[None]:
        """A job that was called again while it still runs here waits for that."""
        with self._changed:
            self._here.append(claim)
            self._changed.wait_for(lambda: self._is_first(claim))
        try:
            yield
        finally:
            with self._changed:
                self._here.remove(claim)
                self._changed.notify_all()

    def _is_first(self, claim: Claim) -> bool:
        return claim is next(one for one in self._here if one.job_id == claim.job_id)

    def _rank(self, job_id: str) -> tuple[int, str]:
        with self._database.reading() as session:
            return (JobRepository(session).get(job_id).priority, job_id)

    def _begin(self, claim: Claim) -> Seat | Refusal:
        with self._database.writing() as session:
            return take_seat(session, claim, self._holder, clock(session))

    def _hand_over(self, claim: Claim) -> None:
        """The job waits to be called again. Without a database others find out by the silence."""
        try:
            self._patiently(lambda session: take_back(session, claim.job_id, claim.turn))
        except AWAY as error:
            structlog.get_logger(__name__).warning("not handed over", error=in_a_line(error))

    def _attempt(self, seat: Seat) -> None:
        log = structlog.get_logger(__name__).bind(job_id=seat.job.id, chip_id=seat.job.chip_id)
        log.info("job started", kind=seat.job.kind, attempt=seat.job.attempt, token=seat.token)
        try:
            child, leftovers = self._start_child(seat)
        except ServiceError as error:  # what it needs is gone: that is its answer
            self._end(seat, _failed(error))
            return
        try:
            self._follow(seat, child, leftovers)
        except EOFError:
            how = child.how_it_died()
            log.warning("the job's process died", how=how)
            self._record(seat, Logged(line=f"The job's process died: {how}."), lines=0)
        except AttemptSupersededError:
            child.finish(patience=0)
            self._lose(seat)
        finally:
            child.finish(patience=0)
            self._free(seat)
        log.info("attempt ended")

    def _start_child(self, seat: Seat) -> tuple[ChildProcess, Leftovers]:
        now = _now()
        with self._database.reading() as session:
            aging = self._settings.simulated_seconds_per_second
            describer = Describer(session, self._house, aging, self._kinds)
            description = describer.describe(seat.job, now)
        return self._children.start(description), Leftovers(self._artifacts, description)

    def _follow(self, seat: Seat, child: ChildProcess, leftovers: Leftovers) -> None:
        """Listen until the child has ended, or has to be stopped."""
        supervisor = Supervisor(seat, child, self._database, self._settings, self._stopping)
        lines = 0
        while True:
            message = child.listen(_LISTEN)
            if isinstance(message, Ended):
                self._finish(seat, message, leftovers)
                child.finish()
                return
            if message is not None:
                lines += isinstance(message, Logged)
                self._record(seat, message, lines)
            if isinstance(message, Checkpointed):
                leftovers.kept(message)
                supervisor.kept()
            verdict = supervisor.look()
            if verdict is not Verdict.GO_ON:
                child.finish(patience=0)
                self._break_off(seat, verdict)
                return

    def _finish(self, seat: Seat, ended: Ended, leftovers: Leftovers) -> None:
        """A child that found its lease run out has not failed: the job goes on later."""
        if ended.error == LeaseLostError.__name__:
            self._lose(seat)
        else:
            self._end(seat, ended)
            leftovers.ended(ended)

    def _record(self, seat: Seat, message: Message, lines: int) -> None:
        self._write(seat, lambda recorder: _record(recorder, message, lines))

    def _end(self, seat: Seat, ended: Ended) -> None:
        self._write(seat, lambda recorder: recorder.end(ended, self._artifacts))

    def _write(self, seat: Seat, write: Callable[[Recorder], None]) -> None:
        def record(session: Session) -> None:
            write(Recorder(session, seat.job, seat.token, _now(), self._kinds))

        self._patiently(record)

    def _patiently(self, write: Callable[[Session], None]) -> None:
        """Write, and where the database is away, wait for it: the child works on meanwhile."""
        patience = 0.0 if self._stopping.is_set() else self._settings.database_patience_s
        write_patiently(self._database, write, patience)

    def _break_off(self, seat: Seat, verdict: Verdict) -> None:
        """The child is dead already."""
        match verdict:
            case Verdict.STOPPING:
                self._pause(seat)
                raise ServiceStoppingError()
            case Verdict.LEASE_LOST:
                self._lose(seat)
            case Verdict.TOO_LONG:
                self._end(seat, Ended(status=JobStatus.FAILED, reason=verdict.value))
            case Verdict.DEAF:
                self._end(seat, Ended(status=JobStatus.CANCELLED, reason=verdict.value))

    def _pause(self, seat: Seat) -> None:
        self._patiently(lambda session: _leave(session, seat))

    def _lose(self, seat: Seat) -> None:
        self._patiently(lambda session: lose_seat(session, seat, _now()))

    def _free(self, seat: Seat) -> None:
        self._patiently(lambda session: release(session, seat))


def house_of(settings: Settings) -> House:
    """What is the same for all jobs of one executor."""
    cores = os.cpu_count() or 1
    return House(
        artifacts_dir=str(settings.artifacts_dir),
        threads=settings.job_threads or max(1, cores // settings.parallel_jobs),
        chip_backends=settings.chip_backends,
        drift=DriftThresholds(drifting=settings.drift_score_drifting, bad=settings.drift_score_bad),
    )


def _leave(session: Session, seat: Seat) -> None:
    leave_seat(session, seat, "its worker was stopped; it goes on from its checkpoint", _now())


def _record(recorder: Recorder, message: Message, lines: int) -> None:
    match message:
        case Progressed():
            recorder.progress(message)
        case Checkpointed():
            recorder.checkpoint(message)
        case Logged():
            recorder.log(message, lines)


def _failed(error: ServiceError) -> Ended:
    return Ended(status=JobStatus.FAILED, reason=str(error), error=type(error).__name__)


def _now() -> datetime:
    return datetime.now(UTC)
