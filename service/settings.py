"""Settings, read from the environment at the start, such as TANDEMCAL_PORT=9000."""

import os
import re
from pathlib import Path
from typing import Self

from pydantic import Field, PositiveFloat, PositiveInt, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from service.networks import AgentNetworks

_SECRET_KEY = re.compile("[A-Za-z0-9_-]{43}=")  # 32 bytes in URL-safe base64


def _default_data_dir() -> Path:
    home = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(home) / "tandemcal"


class Settings(BaseSettings):
    """Settings of one installation. Names carry the unit: `_s` is seconds, `_bytes` bytes."""

    model_config = SettingsConfigDict(env_prefix="TANDEMCAL_", frozen=True, extra="forbid")

    data_dir: Path = Field(default_factory=_default_data_dir)
    host: str = "127.0.0.1"
    port: int = Field(default=8765, ge=0, le=65535)
    database_url: str | None = None  # None: a SQLite file in data_dir
    # Certificate and key of the service, PEM; without them it speaks plain HTTP.
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    max_upload_bytes: PositiveInt = 512 * 1024 * 1024
    # Below this much room on the disk of data_dir nothing new is accepted; running jobs go on.
    reserve_bytes: int = Field(default=256 * 2**20, ge=0)
    max_connections: PositiveInt = 1024  # at a time; fewer where descriptors are scarce
    max_connections_per_address: PositiveInt = 640  # raise it behind a reverse proxy
    requests_per_s: PositiveInt = 500  # of one key, and of one address without a key
    wrong_keys_per_minute: PositiveInt = 30  # of one address, before it is answered slowly
    served_hosts: tuple[str, ...] = ()  # further names of the service, in the header Host
    metrics_port: int | None = Field(default=None, ge=1, le=65535)  # None: on the port of the API
    session_days: PositiveInt = 30  # how long a browser stays logged in

    parallel_jobs: PositiveInt = 2
    job_threads: PositiveInt | None = None  # None: this machine's cores, shared by parallel jobs
    # Of the process of one job; None: 80 % of the machine's, shared by parallel jobs.
    job_memory_bytes: PositiveInt | None = None
    executor_id: str | None = Field(
        default=None, min_length=1, max_length=200
    )  # None: the name of the machine
    queue_poll_s: PositiveFloat | None = (
        None  # interval at which a worker looks for jobs; None: 1 on SQLite, else 0.5
    )
    heartbeat_s: PositiveFloat = 5.0
    executor_silence_s: PositiveFloat = 15.0  # without a heartbeat for this long, others take over
    handover_s: PositiveFloat = 5.0  # for the last checkpoint of a job when its worker is stopped
    database_wait_s: PositiveFloat = 60.0  # how long the start waits for the database to answer
    database_patience_s: PositiveFloat = (
        600.0  # how long running jobs wait for a database that does not answer
    )
    lease_s: PositiveFloat = 15.0  # a lease expires this long after its last renewal
    job_limit_s: PositiveFloat = (
        6 * 3600.0
    )  # after which a job without a budget of seconds is killed
    # Keys of the secrets in the database, the first encrypts; None: those of a file in data_dir.
    secret_keys: tuple[SecretStr, ...] | None = Field(default=None, min_length=1)
    # A key with which chip agents register, beside keys of the scope `agent`.
    join_key: SecretStr | None = Field(default=None, min_length=20)
    # Where agents may be called, such as ["10.1.0.0/16"]. None: private networks and this machine
    # for `tandemcal up`, none for `tandemcal api`.
    agent_networks: tuple[str, ...] | None = None
    # Where webhooks may be sent. None: where agents may be called.
    webhook_networks: tuple[str, ...] | None = None
    webhook_retry_s: PositiveFloat = 5.0  # until the second attempt; then doubled, up to 6 hours
    webhook_disable_days: PositiveFloat = 5.0  # a webhook that fails for this long is disabled
    # Certificate authority of agents, PEM: only this one is trusted, and only https is called.
    agent_ca: Path | None = None
    agent_heartbeat_s: PositiveFloat = 5.0  # interval between heartbeats of a chip agent
    agent_silence_s: PositiveFloat = 20.0  # without a heartbeat for this long, its chip is offline
    # The longest times that an agent is granted, whatever it asks for: for an answer, and without a
    # connection while a job waits.
    agent_answer_max_s: PositiveFloat = 600.0
    agent_reach_max_s: PositiveFloat = 600.0
    chip_backends: dict[str, str] = {}  # further backends: name -> "module:factory"
    driver_open_s: PositiveFloat = 20.0  # for a driver to open its chip when it is registered
    simulated_seconds_per_second: float = Field(
        default=1.0, ge=0
    )  # how fast simulated chips age, driven or idle

    planner_s: PositiveFloat = 5.0  # interval at which the planner looks for chips that are due
    planner_jobs: PositiveInt = 64  # how many planned jobs may be open at a time
    keep_progress_days: PositiveFloat = 90.0  # of jobs that have ended
    keep_logs_days: PositiveFloat = 365.0
    keep_checkpoints_days: PositiveFloat = 7.0
    keep_turns_days: PositiveFloat = 7.0  # what the job engine stores of finished dispatches

    log_json: bool = False
    log_level: str = Field(default="info", pattern="^(debug|info|warning|error)$")

    @field_validator("agent_networks", "webhook_networks")
    @classmethod
    def _are_networks(cls, names: tuple[str, ...] | None) -> tuple[str, ...] | None:
        AgentNetworks(names or ())
        return names

    @field_validator("secret_keys")
    @classmethod
    def _are_keys(cls, keys: tuple[SecretStr, ...] | None) -> tuple[SecretStr, ...] | None:
        if not all(_SECRET_KEY.fullmatch(key.get_secret_value()) for key in keys or ()):
            raise ValueError("each key has to be 32 bytes in URL-safe base64, 44 characters")
        return keys

    @model_validator(mode="after")
    def _has_both_files(self) -> Self:
        if (self.tls_certificate is None) is not (self.tls_key is None):
            raise ValueError("TANDEMCAL_TLS_CERTIFICATE and TANDEMCAL_TLS_KEY are set together")
        return self

    @property
    def database(self) -> str:
        """URL of the database."""
        return self.database_url or f"sqlite:///{self.data_dir / 'tandemcal.sqlite'}"

    @property
    def artifacts_dir(self) -> Path:
        """Directory of the artifact store."""
        return self.data_dir / "artifacts"

    @property
    def key_file(self) -> Path:
        """File with the first key, readable by its owner alone."""
        return self.data_dir / "key"

    @property
    def secret_key_texts(self) -> tuple[str, ...] | None:
        """`secret_keys` as they were given."""
        keys = self.secret_keys
        return None if keys is None else tuple(key.get_secret_value() for key in keys)

    @property
    def secret_key_file(self) -> Path:
        """File with the keys of stored secrets, where `secret_keys` names none."""
        return self.data_dir / "secret-keys"
