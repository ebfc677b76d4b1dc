"""What is the same for every job of one executor, from its settings."""

import os

from service.jobs.health import DriftThresholds
from service.jobs.messages import ExecutorConfig
from service.settings import Settings


def executor_config(settings: Settings) -> ExecutorConfig:
    """Return the settings of an executor that every child process gets."""
    cores = os.cpu_count() or 1
    return ExecutorConfig(
        artifacts_dir=str(settings.artifacts_dir),
        threads=settings.job_threads or max(1, cores // settings.parallel_jobs),
        chip_backends=settings.chip_backends,
        drift=DriftThresholds(drifting=settings.drift_score_drifting, bad=settings.drift_score_bad),
    )
