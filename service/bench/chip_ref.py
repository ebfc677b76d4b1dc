"""What a job is told of its chip: which it is, and how to reach it."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class ChipRef(BaseModel):
    """A chip, and how to reach it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    chip_id: str
    backend: str
    settings: dict[str, Any] = Field(repr=False)  # of a chip behind an agent: its secret too
    state_sha256: str | None  # of a simulated chip
    idle_s: float = Field(ge=0)  # how long it lay there since that state was saved
    token: int
    seconds_per_second: float = Field(default=0.0, ge=0)  # how fast a simulated one ages
