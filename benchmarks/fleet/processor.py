"""Processor time of the last two jobs of a service, run again in this process."""

import os
import statistics
import time
from datetime import UTC, datetime
from pathlib import Path

from service.artifacts import ArtifactStore
from service.db.repositories.job_conditions import JobFilter
from service.db.repositories.jobs import JobRepository
from service.db.repositories.paging import PageRequest
from service.db.session import Database
from service.jobs.attempts.describe import Describer
from service.jobs.kinds.context import JobContext, NoLink
from service.jobs.kinds.main import do_job
from service.jobs.messages import ExecutorConfig, JobDescription
from service.secret_cipher import open_cipher
from service.settings import Settings
from service.states import JobStatus


def processor_ratio(folder: Path, agent: int, rounds: int) -> float:
    """Median ratio of processor time: this process and the agent's, to this process alone."""
    settings = Settings(data_dir=folder)
    near, far = _described(settings)
    artifacts = ArtifactStore(settings.artifacts_dir)
    _busy(near, artifacts, None)  # pays for what is loaded once
    ratios = []
    for _ in range(rounds):
        alone = _busy(near, artifacts, None)
        ratios.append(_busy(far, artifacts, agent) / alone)
    return statistics.median(ratios)


def _described(settings: Settings) -> tuple[JobDescription, JobDescription]:
    """Describe the two jobs: the one in process, and the one behind the agent."""
    database = Database(settings.database)
    config = ExecutorConfig(artifacts_dir=str(settings.artifacts_dir), threads=1)
    cipher = open_cipher(settings.secret_key_texts, settings.secret_key_file)
    with database.reading() as session:
        last = JobFilter((JobStatus.SUCCEEDED,), "calibrate")
        jobs = JobRepository(session).list(last, PageRequest(limit=2)).rows
        describer = Describer(session, config, 0.0, cipher)
        found = [describer.describe(job, datetime.now(UTC)) for job in jobs]
    database.close()
    near, far = sorted(
        (one.model_copy(update={"checkpoint_sha256": None}) for one in found),
        key=lambda one: one.chip is not None and one.chip.backend != "simulated",
    )
    return near, far


def _busy(description: JobDescription, artifacts: ArtifactStore, agent: int | None) -> float:
    """Processor time of a job, in s."""
    before = time.process_time() + _of(agent)
    ended = do_job(JobContext(artifacts, NoLink(), description))
    if ended.status != JobStatus.SUCCEEDED:
        raise SystemExit(f"The work {ended.status}: {ended.reason}")
    return time.process_time() + _of(agent) - before


def _of(pid: int | None) -> float:
    """User and system time of another process so far, in s."""
    if pid is None:
        return 0.0
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
