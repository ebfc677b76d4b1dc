"""The job engine on DBOS: dispatches come out of its queue, and the runner runs them."""

from collections.abc import Callable
from datetime import timedelta

from dbos import DBOS, DBOSConfig

from service.db.session import Database
from service.jobs.attempts.attempt import DispatchTicket
from service.jobs.attempts.runner import JobRunner
from service.jobs.kinds.registry import KINDS, JobKinds
from service.jobs.periodic import PeriodicTask
from service.jobs.queue import stalled
from service.jobs.queue.dbos_queue import APPLICATION, QUEUE, VERSION, WORKFLOW, DbosQueue
from service.jobs.queue.executor import Heartbeat, executor_lock
from service.jobs.queue.maintenance import QueueMaintenance
from service.jobs.queue.stalled import UnstartedDispatches
from service.jobs.upkeep.upkeep import Upkeep
from service.jobs.webhooks.sender import WebhookSender
from service.secret_cipher import open_cipher
from service.settings import Settings

_POLL_SQLITE = 1.0  # s: the latency that the queue adds; four times as often cost slow answers
_POLL = 0.5  # s, where the database is a server of its own
_POOL = 5  # connections of DBOS's own


class SubmittingEngine(DbosQueue):
    """The engine of a process that answers requests and leaves the jobs to workers."""

    runs_jobs_here = False

    def __init__(self, settings: Settings, database: Database) -> None:
        silence = timedelta(seconds=settings.executor_silence_s)
        super().__init__(database, silence)
        self._maintenance = QueueMaintenance(database, self, silence)

    def look_soon(self, _: object = None) -> None:
        """Look after the queue at once."""
        self._maintenance.wake()

    def launch(self) -> None:
        """Begin to look after the queue; workers need not have been there before."""
        self.migrate()
        self._maintenance.start()

    def stop(self) -> None:
        """Stop looking after the queue; workers go on."""
        self._maintenance.stop()
        self.close()


class ExecutingEngine(SubmittingEngine):
    """Starts each dispatch at least once; the runner knows what has been done before."""

    runs_jobs_here = True

    def __init__(self, settings: Settings, database: Database, kinds: JobKinds = KINDS) -> None:
        super().__init__(settings, database)
        self._settings = settings
        self._kinds = kinds
        self._lock = executor_lock(settings, database)
        self._upkeep = Upkeep(settings, database, self, self)
        cipher = open_cipher(settings.secret_key_texts, settings.secret_key_file)
        self._webhooks = WebhookSender(settings, database, cipher)
        self._name: str | None = None
        self._runner: JobRunner | None = None
        self._heartbeat: Heartbeat | None = None

    @property
    def name(self) -> str | None:
        """The name under which this executor is known; None before its launch."""
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
        self._launch_dbos(executor, self._runner)
        unstarted = UnstartedDispatches(self, executor, self._runner.dispatches)
        self._maintenance.add(PeriodicTask(unstarted.requeue, stalled.UNSTARTED_INTERVAL))
        self._maintenance.start()
        self._upkeep.start()
        self._webhooks.start()

    def stop(self) -> None:
        """Start no more jobs; those that run are handed over, others are dispatched at once."""
        self._upkeep.stop()
        self._webhooks.stop()
        if self._runner is not None and self._heartbeat is not None:
            self._runner.stop()
            DBOS.destroy(destroy_registry=True)
            self._runner.wait()
            self._heartbeat.stop()
        self._maintenance.stop()
        self._maintenance.run_once()
        self.close()
        self._lock.release()

    def _launch_dbos(self, executor: str, runner: JobRunner) -> None:
        DBOS(config=self._config(executor))
        run = _workflow(runner, self._maintenance)
        DBOS.workflow(name=WORKFLOW, max_recovery_attempts=None)(run)
        DBOS.launch()
        DBOS.register_queue(
            QUEUE,
            worker_concurrency=self._settings.parallel_jobs + 1,  # one more waits for a slot
            polling_interval_sec=poll_interval(self._settings, self._database),
            on_conflict="always_update",
        )

    def _config(self, executor: str) -> DBOSConfig:
        return {
            "name": APPLICATION,
            "system_database_url": self._database.url,
            "sys_db_pool_size": _POOL,
            "application_version": VERSION,
            "executor_id": executor,
            "serializer": self._serializer,
            "log_level": "WARNING",
            "enable_otlp": False,
        }


def poll_interval(settings: Settings, database: Database) -> float:
    """Return the interval at which a worker looks into the queue, in s."""
    if settings.queue_poll_s is not None:
        return settings.queue_poll_s
    return _POLL_SQLITE if database.is_sqlite else _POLL


def _workflow(runner: JobRunner, maintenance: QueueMaintenance) -> Callable[[str, int], None]:
    """Make a function of its own for each engine: DBOS keeps what it registers by identity."""

    def run_job(job_id: str, turn: int) -> None:  # names that stand in queued workflows
        runner.run(DispatchTicket(job_id, turn))
        maintenance.wake()

    return run_job
