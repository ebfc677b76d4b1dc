"""One attempt from its child's start to its last row: the parent's side."""

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import structlog
from pydantic import ValidationError
from sqlalchemy.orm import Session

from ltl_core.errors import LeaseLostError
from service.artifacts import ArtifactStore
from service.db.outage import write_with_retry
from service.db.session import Database
from service.db.tables import Job
from service.errors import (
    AgentSecretError,
    AgentUnreachableError,
    AttemptSupersededError,
    ServiceError,
)
from service.jobs.attempts.agent_watch import AgentWatch
from service.jobs.attempts.attempt import Attempt, leave_attempt, lose_attempt, release
from service.jobs.attempts.describe import Describer, executor_config
from service.jobs.attempts.fork_server import ChildProcess, ForkServer
from service.jobs.attempts.recorder import ProgressPace, Recorder, SupersededBlocks
from service.jobs.attempts.supervisor import Decision, Supervisor
from service.jobs.errors import ServiceStoppingError
from service.jobs.kinds.memory import killed_sentence, oom_kills
from service.jobs.kinds.registry import JobKinds
from service.jobs.kinds.spec import check_memory
from service.jobs.messages import (
    AgentSought,
    Checkpointed,
    Ended,
    ForParent,
    Logged,
    Progressed,
)
from service.secret_cipher import open_cipher
from service.settings import Settings
from service.shortage import ShortageError
from service.states import JobStatus
from service.wait_reasons import WORKER_STOPPED

_LOOK_AGAIN = timedelta(seconds=30)  # before a job for which the service lacks something starts
_AGENT_REGISTERS = timedelta(seconds=5)  # before a job whose agent has to register again starts
_RECEIVE = 0.1  # s to wait for a message before the supervisor is asked again


class AttemptRunner:
    """Runs attempts, each in a child process."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        kinds: JobKinds,
        children: ForkServer,
        stopping: threading.Event,
    ) -> None:
        """`stopping` is set when the service is being stopped."""
        self._settings = settings
        self._database = database
        self._kinds = kinds
        self._children = children
        self._stopping = stopping
        self._config = executor_config(settings)
        self._cipher = open_cipher(settings.secret_key_texts, settings.secret_key_file)
        self._artifacts = ArtifactStore(settings.artifacts_dir)

    def run(self, attempt: Attempt) -> None:
        """Run the attempt to its end; the job has then ended, or waits for its next one.

        Raises ServiceStoppingError when the service is stopped before that, JobTakenOverError when
        another executor drives the job.
        """
        job = attempt.job
        log = structlog.get_logger(__name__).bind(job_id=job.id, chip_id=job.chip_id)
        log.info("attempt: started", kind=job.kind, attempt=job.attempt, token=attempt.token)
        try:
            child, superseded = self._start_child(attempt)
        except ShortageError as error:
            self._wait_for_end_of(attempt, error)
            return
        except AgentSecretError as error:
            log.warning("attempt: the agent's secret cannot be decrypted, the job waits")
            self._leave(attempt, str(error), _AGENT_REGISTERS)
            return
        except ServiceError as error:  # what it needs is gone: that is its result
            self._end(attempt, _failed(error))
            return
        kills = oom_kills()
        try:
            self._follow(attempt, child, superseded)
        except EOFError:
            self._died(attempt, child, out_of_memory=oom_kills() > kills)
        except AttemptSupersededError:
            child.finish(timeout=0)
            self._lose(attempt)
        finally:
            child.finish(timeout=0)
            self._free(attempt)
        log.info("attempt: ended")

    def write(self, write: Callable[[Session], None]) -> None:
        """Write, and wait for a database that is away: the child works on meanwhile.

        Raises OperationalError and InterfaceError after `database_patience_s`, or at once where the
        service is being stopped.
        """
        timeout = 0.0 if self._stopping.is_set() else self._settings.database_patience_s
        write_with_retry(self._database, write, timeout)

    def _died(self, attempt: Attempt, child: ChildProcess, *, out_of_memory: bool) -> None:
        """Record how the child died. It is tried again, unless it was killed for its memory."""
        how, job = child.how_it_died(), attempt.job
        log = structlog.get_logger(__name__).bind(job_id=job.id, chip_id=job.chip_id, how=how)
        self._record(attempt, Logged(line=f"The job's process died: {how}."), lines=0)
        if out_of_memory and child.was_killed:
            log.warning("attempt: memory ran out and the child process was killed, the job failed")
            self._end(attempt, Ended(status=JobStatus.FAILED, reason=killed_sentence()))
        else:
            log.warning("attempt: the child process died, the job is tried again")

    def _wait_for_end_of(self, attempt: Attempt, shortage: ShortageError) -> None:
        """Put the job back into the queue for a while: it has not failed, nor was interrupted."""
        structlog.get_logger(__name__).warning(
            "attempt: the service lacks what a job needs, the job waits",
            job_id=attempt.job.id,
            lack=shortage.lack,
        )
        self._leave(attempt, str(shortage), _LOOK_AGAIN)

    def _start_child(self, attempt: Attempt) -> tuple[ChildProcess, SupersededBlocks]:
        now = _now()
        with self._database.reading() as session:
            aging = self._settings.simulated_seconds_per_second
            describer = Describer(session, self._config, aging, self._cipher, self._kinds)
            description = describer.describe(attempt.job, now)
            self._check_memory(session, attempt.job)
        return self._children.start(description), SupersededBlocks(self._artifacts, description)

    def _check_memory(self, session: Session, job: Job) -> None:
        """Raise JobTooLargeError for a job that was queued where its limit was not known."""
        kind = self._kinds[job.kind]
        try:
            request = kind.request.model_validate(job.request)
        except ValidationError:  # the child says what is wrong
            return
        check_memory(session, kind, request, self._config.memory_bytes)

    def _follow(self, attempt: Attempt, child: ChildProcess, superseded: SupersededBlocks) -> None:
        """Record the child's messages until it has ended, or has to be stopped."""
        supervisor = Supervisor(attempt, child, self._database, self._settings, self._stopping)
        agent = AgentWatch(attempt, self._database, self._config, self._cipher)
        lines, pace = 0, ProgressPace()
        while True:
            message = child.receive(_RECEIVE)
            if isinstance(message, Ended):
                self._finish(attempt, message, superseded, agent)
                child.finish()
                return
            if isinstance(message, AgentSought):
                agent.answer(child)
            elif message is not None:
                lines += isinstance(message, Logged)
                self._record(attempt, message, lines, pace)
            if isinstance(message, Checkpointed):
                superseded.checkpoint_recorded(message)
                supervisor.checkpoint_recorded()
            decision = supervisor.check()
            if decision is not Decision.GO_ON:
                child.finish(timeout=0)
                self._break_off(attempt, decision)
                return

    def _finish(
        self, attempt: Attempt, ended: Ended, superseded: SupersededBlocks, agent: AgentWatch
    ) -> None:
        """Record the end.

        A child whose lease ran out, or whose agent was stopped, has not failed: it goes on later.
        """
        if ended.error == ShortageError.__name__:
            self._leave(attempt, str(ended.reason), _LOOK_AGAIN)
            return
        sought = ended.error == AgentUnreachableError.__name__
        if ended.error == LeaseLostError.__name__:
            self._lose(attempt)
        elif sought and (reason := agent.why_to_wait()) is not None:
            self._leave(attempt, reason)
        else:
            self._end(attempt, ended)
            superseded.end_recorded(ended)

    def _record(
        self, attempt: Attempt, message: ForParent, lines: int, pace: ProgressPace | None = None
    ) -> None:
        self._write(attempt, lambda recorder: _record(recorder, message, lines, pace))

    def _end(self, attempt: Attempt, ended: Ended) -> None:
        self._write(attempt, lambda recorder: recorder.end(ended, self._artifacts))

    def _write(self, attempt: Attempt, write: Callable[[Recorder], None]) -> None:
        def record(session: Session) -> None:
            write(Recorder(session, attempt.job, attempt.token, _now(), self._kinds))

        self.write(record)

    def _break_off(self, attempt: Attempt, decision: Decision) -> None:
        """Record why the child was killed. Raises ServiceStoppingError and JobTakenOverError."""
        match decision:
            case Decision.STOPPING:
                self._leave(attempt, WORKER_STOPPED)
                raise ServiceStoppingError()
            case Decision.LEASE_LOST:
                self._lose(attempt)
            case Decision.TOO_LONG:
                self._end(attempt, Ended(status=JobStatus.FAILED, reason=decision.value))
            case Decision.UNRESPONSIVE:
                self._end(attempt, Ended(status=JobStatus.CANCELLED, reason=decision.value))

    def _leave(self, attempt: Attempt, reason: str, pause: timedelta = timedelta(0)) -> None:
        def leave(session: Session) -> None:
            leave_attempt(session, attempt, reason, _now(), pause)

        self.write(leave)

    def _lose(self, attempt: Attempt) -> None:
        self.write(lambda session: lose_attempt(session, attempt, _now()))

    def _free(self, attempt: Attempt) -> None:
        self.write(lambda session: release(session, attempt))


def _record(recorder: Recorder, message: ForParent, lines: int, pace: ProgressPace | None) -> None:
    match message:
        case Progressed():
            recorder.progress(message, pace)
        case Checkpointed():
            recorder.checkpoint(message)
        case Logged():
            recorder.log(message, lines)


def _failed(error: ServiceError) -> Ended:
    return Ended(status=JobStatus.FAILED, reason=str(error), error=type(error).__name__)


def _now() -> datetime:
    return datetime.now(UTC)
