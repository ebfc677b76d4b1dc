"""Settings of a chip agent, from TANDEMCAL_AGENT_NAME and so on, or the command's options."""

import hashlib
import ipaddress
import os
import socket
from pathlib import Path
from typing import Any, Self

from pydantic import (
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict


def _default_data_dir() -> Path:
    home = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(home) / "tandemcal" / "agents"


class AgentSettings(BaseSettings):
    """Settings of one agent and its chip. Names that end in `_s` are in seconds."""

    model_config = SettingsConfigDict(env_prefix="TANDEMCAL_AGENT_", frozen=True, extra="forbid")

    name: str = Field(default_factory=socket.gethostname, min_length=1, max_length=200)
    chip: str = "ideal"  # of a simulated chip: the name of a preset, or a file with a spec
    seed: NonNegativeInt | None = None  # None: derived from the name
    backend: str = "simulated"  # or the name of an installed driver
    backend_settings: dict[str, Any] = {}  # given to that driver
    aging: NonNegativeFloat = 1.0  # seconds on a simulated chip's clock per second of wall time

    host: str = "127.0.0.1"
    port: int = Field(default=8770, ge=0, le=65535)
    advertise: str | None = None  # URL at which workers reach the agent; None: host and port
    # Certificate and key of the agent, PEM; without them it speaks plain HTTP.
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    service_ca: Path | None = None  # authority of the service, PEM: only this one is trusted
    service: str | None = None  # URL of the service; None: the agent does not register
    join_key: str | None = Field(default=None, repr=False)
    join_key_file: Path | None = None
    answer_s: PositiveFloat = 300.0  # longest time for an answer; then the job fails
    reach_s: PositiveFloat = 30.0  # a job tries this long to reach the agent before it fails

    data_dir: Path = Field(default_factory=_default_data_dir)  # holds one folder for each name
    call_log: Path | None = None  # file that gets one line for each call
    threads: PositiveInt = 1  # of torch
    log_json: bool = False
    log_level: str = Field(default="info", pattern="^(debug|info|warning|error)$")

    @model_validator(mode="after")
    def _has_both_files(self) -> Self:
        if (self.tls_certificate is None) is not (self.tls_key is None):
            raise ValueError("a certificate and its key are given together")
        return self

    @property
    def folder(self) -> Path:
        """Folder with the journal and the lock of this agent's chip."""
        plain = "".join(c if c.isalnum() or c in "-_" else "_" for c in self.name)
        return self.data_dir / plain

    @property
    def chip_seed(self) -> int:
        """Seed of a simulated chip; without a setting it is derived from the name."""
        if self.seed is not None:
            return self.seed
        return int.from_bytes(hashlib.sha256(self.name.encode()).digest()[:4], "big")

    def key(self) -> str | None:
        """Return the join key. Raises OSError if its file cannot be read."""
        if self.join_key_file is not None:
            return self.join_key_file.read_text().strip()
        return self.join_key

    def url(self, port: int) -> str:
        """Return the URL at which workers reach the agent; a wildcard host becomes a host name."""
        if self.advertise is not None:
            return self.advertise.rstrip("/")
        host = socket.gethostname() if _is_wildcard(self.host) else self.host
        scheme = "http" if self.tls_certificate is None else "https"
        return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def _is_wildcard(host: str) -> bool:
    """Return whether the host stands for all addresses of this machine."""
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False  # a name
