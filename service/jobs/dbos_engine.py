"""The job engine on DBOS. Its tables stand in our database: row and enqueue are one transaction."""

import os
from collections.abc import Callable

from dbos import DBOS, DBOSClient, DBOSConfig, DBOSPortableJSONSerializer
from sqlalchemy.orm import Session

from service.db.session import Database
from service.db.tables import Job
from service.jobs.executor import ExecutorLock, Heartbeat
from service.jobs.messages import House
from service.jobs.runner import JobRunner
from service.settings import Settings

_APPLICATION = "tandemcal"
_VERSION = "1"  # raised by hand, when jobs queued by older code could not be run any more
_QUEUE = "jobs"
_WORKFLOW = "run_job"
_POLL = 1.0  # s: the latency that the queue adds; four times as often cost slow answers
_CLAIMED = 64  # jobs that wait in this process for a slot or for their chip


class DbosEngine:
    """Starts each enqueued job at least once; the runner knows what has been done before.

    DBOS lets one job a chip out at a time, in the order of priority. How many run at once is
    decided by the runner's slots, so that a job that waits for its chip holds up no other.
    """

    def __init__(self, settings: Settings, database: Database, runner: JobRunner) -> None:
        self._settings = settings
        self._database = database
        self._runner = runner
        self._lock = ExecutorLock(database.url)
        self._heartbeat = Heartbeat(database, settings.executor_id, settings.heartbeat_s)
        self._serializer = DBOSPortableJSONSerializer()
        self._client: DBOSClient | None = None

    def enqueue(self, session: Session, job: Job) -> None:
        """Queue the job in the caller's transaction: both are kept, or neither."""
        self._connected().enqueue_in_transaction(
            session,
            {
                "workflow_name": _WORKFLOW,
                "workflow_id": job.id,
                "queue_name": _QUEUE,
                "queue_partition_key": self._partition(job),
                "priority": job.priority + 1,
                "app_version": _VERSION,
            },
            job.id,
        )

    def cancel_queued(self, job_id: str) -> None:
        """Forget a job that has not started. A started one finds its row ended, and stops."""
        status = self._connected().retrieve_workflow(job_id).get_status().status
        if status == "ENQUEUED":
            self._connected().cancel_workflow(job_id)

    def launch(self) -> None:
        """Begin to start jobs; first those that a crash interrupted.

        Raises ExecutorRunningError.
        """
        self._lock.acquire()
        self._heartbeat.start()
        self._runner.warm_up()
        DBOS(config=self._config())
        DBOS.workflow(name=_WORKFLOW, max_recovery_attempts=None)(_workflow(self._runner.run))
        DBOS.launch()
        DBOS.register_queue(
            _QUEUE,
            partition_concurrency=1,
            worker_concurrency=_CLAIMED,
            polling_interval_sec=_POLL,
            on_conflict="always_update",
        )
        self._client = DBOSClient(
            system_database_engine=self._database.engine,
            serializer=self._serializer,
            application_name=_APPLICATION,
        )

    def stop(self) -> None:
        """Start no more jobs; those that run go on at the next launch."""
        self._runner.stop()
        DBOS.destroy(destroy_registry=True)
        self._runner.wait()
        if self._client is not None:
            self._client.destroy()
            self._client = None
        self._heartbeat.stop()
        self._lock.release()

    def _config(self) -> DBOSConfig:
        return {
            "name": _APPLICATION,
            "system_database_url": self._database.url,
            "application_version": _VERSION,
            "executor_id": self._settings.executor_id,
            "serializer": self._serializer,
            "log_level": "WARNING",
            "enable_otlp": False,
        }

    def _partition(self, job: Job) -> str:
        """Jobs of one chip follow one another; jobs without a chip fill as many lanes as slots."""
        lane = int(job.id[-4:], 16) % self._settings.parallel_jobs
        return job.chip_id or f"software-{lane}"

    def _connected(self) -> DBOSClient:
        if self._client is None:
            raise RuntimeError("The job engine has not been launched.")
        return self._client


def embedded_engine(settings: Settings, database: Database) -> DbosEngine:
    """The engine of a service that runs its own jobs."""
    cores = os.cpu_count() or 1
    house = House(
        artifacts_dir=str(settings.artifacts_dir),
        threads=max(1, cores // settings.parallel_jobs),
        chip_backends=settings.chip_backends,
    )
    return DbosEngine(settings, database, JobRunner(settings, database, house))


def _workflow(run: Callable[[str], None]) -> Callable[[str], None]:
    """A function of its own for each engine: DBOS keeps what it registers by identity."""

    def run_job(job_id: str) -> None:
        run(job_id)

    return run_job
