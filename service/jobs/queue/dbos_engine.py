"""The job engine on DBOS: turns of jobs come out of its queue, and the runner runs them."""

from collections.abc import Callable
from datetime import timedelta

from dbos import DBOS, DBOSConfig
from sqlalchemy.orm import Session

from service.db.session import Database
from service.db.tables import Job
from service.jobs.attempts.attempt import Claim
from service.jobs.attempts.runner import JobRunner
from service.jobs.kinds.registry import KINDS, JobKinds
from service.jobs.periodic import Duty
from service.jobs.queue import stranded_turns
from service.jobs.queue.dbos_queue import APPLICATION, QUEUE, VERSION, WORKFLOW, DbosQueue
from service.jobs.queue.executor import Heartbeat, executor_lock
from service.jobs.queue.maintenance import Keeper
from service.jobs.queue.stranded_turns import StrandedTurns
from service.jobs.upkeep.upkeep import Upkeep
from service.settings import Settings

_POLL_SQLITE = 1.0  # s: the latency that the queue adds; four times as often cost slow answers
_POLL = 0.5  # s, where the database is a server of its own
_POOL = 5  # connections of DBOS's own


class Submitter:
    """For a process that answers requests and leaves the jobs to workers."""

    def __init__(self, settings: Settings, database: Database) -> None:
        silence = timedelta(seconds=settings.executor_silence_s)
        self._queue = DbosQueue(database, silence)
        self._keeper = Keeper(database, self._queue, silence)

    def enqueue(self, session: Session, job: Job) -> None:
        """Queue the job in the caller's transaction: both are kept, or neither."""
        self._queue.enqueue(session, job)

    def cancel_queued(self, job_id: str) -> None:
        """Forget a job that has not started."""
        self._queue.cancel_queued(job_id)

    def launch(self) -> None:
        """Workers need not have been there before."""
        self._queue.migrate()
        self._keeper.start()

    def stop(self) -> None:
        """Workers go on."""
        self._keeper.stop()
        self._queue.close()


class Executor(Submitter):
    """Starts each turn at least once; the runner knows what has been done before."""

    def __init__(self, settings: Settings, database: Database, kinds: JobKinds = KINDS) -> None:
        super().__init__(settings, database)
        self._kinds = kinds
        self._settings = settings
        self._database = database
        self._lock = executor_lock(settings, database)
        self._upkeep = Upkeep(settings, database, self, self._queue)
        self._name: str | None = None
        self._runner: JobRunner | None = None
        self._heartbeat: Heartbeat | None = None

    @property
    def name(self) -> str | None:
        """Under which it is known, while it runs."""
        return self._name

    def launch(self) -> None:
        """Begin to start jobs; first those that a crash interrupted.

        Raises ExecutorRunningError and ExecutorNameTakenError.
        """
        executor = self._name = self._lock.acquire()
        self._heartbeat = Heartbeat(self._database, self._lock, executor, self._settings)
        self._heartbeat.start()
        self._runner = JobRunner(self._settings, self._database, executor, self._kinds)
        self._runner.warm_up()
        DBOS(config=self._config(executor))
        run = _workflow(self._runner, self._keeper)
        DBOS.workflow(name=WORKFLOW, max_recovery_attempts=None)(run)
        DBOS.launch()
        DBOS.register_queue(
            QUEUE,
            worker_concurrency=self._settings.parallel_jobs + 1,  # one more waits for a slot
            polling_interval_sec=_POLL_SQLITE if self._database.is_sqlite else _POLL,
            on_conflict="always_update",
        )
        stranded = StrandedTurns(self._queue, executor, self._runner.turns)
        self._keeper.also(Duty(stranded.give_back, stranded_turns.INTERVAL))
        self._keeper.start()
        self._upkeep.start()

    def stop(self) -> None:
        """Start no more jobs; those that run are handed over, others are called at once."""
        self._upkeep.stop()
        if self._runner is not None and self._heartbeat is not None:
            self._runner.stop()
            DBOS.destroy(destroy_registry=True)
            self._runner.wait()
            self._heartbeat.stop()
        self._keeper.stop()
        self._keeper.look()
        self._queue.close()
        self._lock.release()

    def _config(self, executor: str) -> DBOSConfig:
        return {
            "name": APPLICATION,
            "system_database_url": self._database.url,
            "sys_db_pool_size": _POOL,
            "application_version": VERSION,
            "executor_id": executor,
            "serializer": self._queue.serializer,
            "log_level": "WARNING",
            "enable_otlp": False,
        }


def _workflow(runner: JobRunner, keeper: Keeper) -> Callable[[str, int], None]:
    """A function of its own for each engine: DBOS keeps what it registers by identity."""

    def run_job(job_id: str, turn: int) -> None:
        runner.run(Claim(job_id, turn))
        keeper.wake()

    return run_job
