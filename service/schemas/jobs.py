"""Bodies about jobs: what is asked for, how a job stands, what happened to it."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, Field, model_validator

from ltl_core.presets import PRESETS, PresetName
from ltl_core.settings import CalibrationSettings, TrainingSettings, TuneSettings
from service.schemas.base import Json, Request, ResourceId, View
from service.states import (
    JobKind,
    JobStatus,
)


class _Submission(Request):
    priority: int = Field(default=5, ge=0, le=9)  # 0 goes first
    not_before: AwareDatetime | None = None
    queue_deadline: AwareDatetime | None = None  # a job that has not started by then expires

    @model_validator(mode="after")
    def _can_start(self) -> "_Submission":
        if self.not_before and self.queue_deadline and self.queue_deadline <= self.not_before:
            raise ValueError("queue_deadline must be later than not_before")
        return self


class TrainRequest(_Submission):
    """Train the golden student of a target set, in software."""

    kind: Literal["train"]
    target_set_id: ResourceId
    preset: PresetName | None = None  # published settings, over which those given are laid
    settings: TrainingSettings = TrainingSettings()

    @model_validator(mode="before")
    @classmethod
    def _lay_over_preset(cls, data: Any) -> Any:
        name = data.get("preset") if isinstance(data, Mapping) else None
        given = data.get("settings", {}) if isinstance(name, str) and name in PRESETS else None
        if not isinstance(given, Mapping):
            return data
        published = PRESETS[PresetName(str(name))].settings.model_dump(mode="json")
        return {**data, "settings": published | dict(given)}


class _OnChip(_Submission):
    chip_id: ResourceId
    if_unavailable: Literal["queue", "reject"] = "queue"  # where the chip is offline


class CalibrateRequest(_OnChip):
    """Bring a chip to what the golden student does."""

    kind: Literal["calibrate"]
    student_id: ResourceId
    settings: CalibrationSettings = CalibrationSettings()


class EvaluateRequest(_OnChip):
    """Measure a chip with the weights in force, or with the student's own if it has none."""

    kind: Literal["evaluate"]
    student_id: ResourceId


class TuneRequest(_OnChip):
    """Make the circuits of a chip alike by its registers; the student says what stands on it."""

    kind: Literal["tune"]
    student_id: ResourceId | None = None  # None: that of the version in force
    registers_of: ResourceId | None = None  # an earlier tune job, whose registers are set again
    settings: TuneSettings = TuneSettings()


class ProbeRequest(_OnChip):
    """Compare a chip's answers to its fixed stimulus with those at publication; needs no labels."""

    kind: Literal["probe"]


ChipJobRequest = TuneRequest | CalibrateRequest | EvaluateRequest | ProbeRequest


JobRequest = Annotated[TrainRequest | ChipJobRequest, Field(discriminator="kind")]


class JobView(View):
    """A client waits on `terminal`: statuses may be added one day, that word keeps its meaning."""

    id: str
    kind: JobKind
    status: JobStatus
    terminal: bool
    reason: str | None
    teacher_id: str | None
    target_set_id: str | None
    student_id: str | None
    chip_id: str | None
    settings: Json  # as accepted, with the defaults filled in
    priority: int
    not_before: datetime | None
    queue_deadline: datetime | None
    queue_position: int | None  # among the jobs that wait for the same chip; 1 is next
    expected_start: datetime | None  # from how long the chip's last jobs took; null: unknown
    progress: Json | None
    spent: Json | None
    result: Json | None
    weights_in_force: int | None  # the chip's version when the job started
    attempt: int
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    code_version: str


class EventView(View):
    seq: int
    type: str
    job_id: str | None
    chip_id: str | None
    data: Json
    created_at: datetime
