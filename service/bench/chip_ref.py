"""Which chip a job uses and how to reach it, as the job's child process gets it."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class ChipRef(BaseModel):
    """The chip of a job, how to reach it, and the token of the lease on it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    chip_id: str
    backend: str  # "simulated", "http", or the name of a driver
    settings: dict[str, Any] = Field(repr=False)  # with the agent's secret, if there is an agent
    state_sha256: str | None  # block with the saved state of a chip in software
    idle_s: float = Field(ge=0)  # seconds since that state was saved
    token: int
    seconds_per_second: float = Field(default=0.0, ge=0)  # on a simulated chip's clock, per second
