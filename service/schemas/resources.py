"""What travels: requests are closed, answers may grow. Needs nothing but what the client has."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, JsonValue, model_validator
from pydantic import Json as JsonText

from ltl_core.network.spec import NetworkSpec
from ltl_core.presets import PRESETS, PresetName
from ltl_core.settings import CalibrationSettings, TrainingSettings, TuneSettings
from service.states import (
    ChipHealth,
    ChipState,
    JobKind,
    JobStatus,
    Scope,
    Split,
    TargetSetState,
)

Item = TypeVar("Item")
Json = dict[str, Any]
JsonObject = dict[str, JsonValue]
ResourceId = Annotated[str, Field(min_length=1, max_length=36)]
Title = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]

SAFETENSORS = "application/vnd.safetensors"  # the media type of every block of tensors


class Request(BaseModel):
    """Sent to the service: what it does not know is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class View(BaseModel):
    """Sent by the service: a client ignores what it does not know."""

    model_config = ConfigDict(frozen=True, from_attributes=True)


class Page(View, Generic[Item]):
    """A part of a list; `next_cursor` is null on the last one."""

    items: list[Item]
    next_cursor: str | None = None


# Teachers, target sets, students


class TeacherMetadata(Request):
    """What stands in the metadata of the uploaded safetensors block, `network` as JSON text."""

    name: Title
    network: JsonText[NetworkSpec]


class TeacherView(View):
    id: str
    name: str
    network: NetworkSpec
    weights_sha256: str
    created_at: datetime


class TargetSetRequest(Request):
    name: Title
    teacher_id: ResourceId
    chunks: int = Field(ge=1, le=100_000)  # how many will be uploaded, numbered from 0
    percentile: float = Field(default=99.0, gt=0, le=100)


class ChunkView(View):
    index: int
    split: Split
    samples: int
    sha256: str


class TargetSetView(View):
    """A collect job makes a complete set ready; `summary` then says what it found."""

    id: str
    name: str
    teacher_id: str
    state: TargetSetState
    reason: str | None
    chunks: int
    received: int
    missing: list[int]  # the indices that have not arrived
    percentile: float
    summary: Json | None
    created_at: datetime


class StudentView(View):
    id: str
    teacher_id: str
    target_set_id: str
    job_id: str
    rule: str
    accuracy: Json  # teacher, golden
    sha256: str
    created_at: datetime


# Chips


class SimulatedChipSettings(Request):
    """A named chip and a seed; with overrides of its spec where it should differ."""

    preset: str = Field(min_length=1, max_length=80)
    seed: int = Field(ge=0, lt=2**63)
    overrides: JsonObject = {}


class ChipRequest(Request):
    name: Title
    backend: str = Field(default="simulated", min_length=1, max_length=40)
    settings: JsonObject  # of the backend; of `simulated`: SimulatedChipSettings


class ChipPatch(Request):
    name: Title


class ChipView(View):
    id: str
    name: str
    backend: str
    settings: Json
    info: Json  # what the chip is: tiles, code ranges, observables; empty until a bench told it
    state: ChipState
    health: ChipHealth
    accuracy: float | None  # as last measured
    drift_score: float | None  # as last probed: the distance from publication, without dimension
    version_in_force: int | None
    queue_depth: int
    running_job_id: str | None
    created_at: datetime
    retired_at: datetime | None


class WeightVersionView(View):
    id: str
    chip_id: str
    version: int
    job_id: str
    student_id: str
    target_set_id: str
    sha256: str
    chip_time_s: float
    rule: str
    observable: str
    accuracy: Json  # golden, before, after
    fingerprint: Json | None
    code_version: str
    created_at: datetime


# Jobs


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


# Keys, health, problems


class KeyRequest(Request):
    name: Title
    scopes: list[Scope] = Field(min_length=1, max_length=len(Scope))


class KeyView(View):
    id: str
    name: str
    scopes: list[Scope]
    created_at: datetime
    revoked_at: datetime | None


class NewKeyView(KeyView):
    key: str  # shown this once; only its hash is kept


class HealthView(View):
    status: Literal["ok"] = "ok"
    version: str


class FieldError(View):
    pointer: str | None = None  # into the body, RFC 6901
    parameter: str | None = None  # of the query, the path or the headers
    message: str


class Problem(BaseModel):
    """RFC 9457. `type` is stable; fields of its own stand beside these."""

    model_config = ConfigDict(frozen=True, extra="allow")

    type: str
    title: str
    status: int
    detail: str  # a sentence that says what to change
    instance: str | None = None
    errors: list[FieldError] | None = None
