"""Settings of a chip agent: TANDEMCAL_AGENT_NAME=bench-3 and so on, or the command's options."""

import hashlib
import os
import socket
from pathlib import Path
from typing import Any

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from pydantic_settings import BaseSettings, SettingsConfigDict


def _default_data_dir() -> Path:
    home = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(home) / "tandemcal" / "agents"


class AgentSettings(BaseSettings):
    """What differs from one agent to the next. Units stand in the names."""

    model_config = SettingsConfigDict(env_prefix="TANDEMCAL_AGENT_", frozen=True, extra="forbid")

    name: str = Field(default_factory=socket.gethostname, min_length=1, max_length=200)
    chip: str = "ideal"  # of a simulated one: a preset's name, or a file with a spec
    seed: NonNegativeInt | None = None  # None: one that belongs to the name
    backend: str = "simulated"  # or an installed driver, with its settings
    backend_settings: dict[str, Any] = {}
    aging: NonNegativeFloat = 1.0  # seconds that an idle simulated chip ages in one

    host: str = "127.0.0.1"
    port: int = Field(default=8770, ge=0, le=65535)
    advertise: str | None = None  # the URL under which workers reach it; None: host and port
    service: str | None = None  # the service's URL; None: it registers nowhere
    join_key: str | None = Field(default=None, repr=False)
    join_key_file: Path | None = None
    answer_s: PositiveFloat = 300.0  # an answer that takes longer is given up by the job
    reach_s: PositiveFloat = 30.0  # so long is this agent called when it cannot be reached

    data_dir: Path = Field(default_factory=_default_data_dir)  # a folder a name below it
    call_log: Path | None = None  # a line for every call: token, verb, times
    threads: PositiveInt = 1
    log_json: bool = False
    log_level: str = Field(default="info", pattern="^(debug|info|warning|error)$")

    @property
    def folder(self) -> Path:
        """Where this agent keeps what it must not forget."""
        plain = "".join(c if c.isalnum() or c in "-_" else "_" for c in self.name)
        return self.data_dir / plain

    @property
    def chip_seed(self) -> int:
        """The same one for the same name."""
        if self.seed is not None:
            return self.seed
        return int.from_bytes(hashlib.sha256(self.name.encode()).digest()[:4], "big")

    def key(self) -> str | None:
        """The join key. Raises OSError where its file cannot be read."""
        if self.join_key_file is not None:
            return self.join_key_file.read_text().strip()
        return self.join_key

    def url(self, port: int) -> str:
        """Under which address workers reach it; a wildcard is no address, the machine's name is."""
        if self.advertise is not None:
            return self.advertise.rstrip("/")
        host = socket.gethostname() if self.host in ("0.0.0.0", "::") else self.host
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
