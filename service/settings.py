"""Settings, read from the environment once, at the start: TANDEMCAL_PORT=9000 and so on."""

import os
from pathlib import Path

from pydantic import Field, PositiveFloat, PositiveInt, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


def _default_data_dir() -> Path:
    home = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(home) / "tandemcal"


class Settings(BaseSettings):
    """What differs from one installation to the next. Units stand in the names."""

    model_config = SettingsConfigDict(env_prefix="TANDEMCAL_", frozen=True, extra="forbid")

    data_dir: Path = Field(default_factory=_default_data_dir)
    host: str = "127.0.0.1"
    port: int = Field(default=8765, ge=0, le=65535)
    database_url: str | None = None  # None: a SQLite file in data_dir
    max_upload_bytes: PositiveInt = 512 * 1024 * 1024
    metrics_port: int | None = Field(default=None, ge=1, le=65535)  # None: with everything else
    session_days: PositiveInt = 30  # how long a browser stays logged in

    parallel_jobs: PositiveInt = 2
    job_threads: PositiveInt | None = None  # None: this machine's cores, shared by parallel jobs
    executor_id: str | None = Field(default=None, min_length=1, max_length=200)  # None: by machine
    heartbeat_s: PositiveFloat = 5.0
    executor_silence_s: PositiveFloat = 15.0  # others take over from a worker silent for so long
    handover_s: PositiveFloat = 5.0  # for a job's last checkpoint, when its worker is stopped
    database_wait_s: PositiveFloat = 60.0  # for the database to answer at the start
    database_patience_s: PositiveFloat = 600.0  # for one that is away while jobs run
    lease_s: PositiveFloat = 15.0  # a chip is free again this long after its holder fell silent
    job_limit_s: PositiveFloat = 6 * 3600.0  # of a job without a budget of seconds; then killed
    # With this chip agents register, beside keys of the scope `agent`.
    join_key: SecretStr | None = Field(default=None, min_length=20)
    agent_heartbeat_s: PositiveFloat = 5.0  # how often a chip agent is to be heard of
    agent_silence_s: PositiveFloat = 20.0  # after that its chip is offline
    chip_backends: dict[str, str] = {}  # further backends: name -> "module:factory"
    simulated_seconds_per_second: float = Field(
        default=1.0, ge=0
    )  # how fast simulated chips age, driven or idle

    planner_s: PositiveFloat = 5.0  # how often chips that are due are looked for
    planner_jobs: PositiveInt = 64  # planned jobs that may be open at a time
    keep_progress_days: PositiveFloat = 90.0  # of jobs that have ended
    keep_logs_days: PositiveFloat = 365.0
    keep_checkpoints_days: PositiveFloat = 7.0
    keep_turns_days: PositiveFloat = 7.0  # what the job engine remembers of turns that are over
    # From which drift scores on a chip is no longer good, and bad; see docs/results/drift-score.md.
    drift_score_drifting: PositiveFloat = 0.8
    drift_score_bad: PositiveFloat = 1.25

    log_json: bool = False
    log_level: str = Field(default="info", pattern="^(debug|info|warning|error)$")

    @property
    def database(self) -> str:
        """The database's URL."""
        return self.database_url or f"sqlite:///{self.data_dir / 'tandemcal.sqlite'}"

    @property
    def artifacts_dir(self) -> Path:
        return self.data_dir / "artifacts"

    @property
    def key_file(self) -> Path:
        """Where the first key is left for its owner, readable by nobody else."""
        return self.data_dir / "key"
