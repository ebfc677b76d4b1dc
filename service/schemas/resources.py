"""Bodies about teachers, target sets, students, chips and keys; health and problems."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic import Json as JsonText

from ltl_core.network.spec import NetworkSpec
from service.schemas.base import (
    DescribedAs,
    IdOrName,
    Instant,
    Json,
    JsonObject,
    Request,
    Title,
    View,
)
from service.schemas.chip_info import ChipInformation, NothingKnown
from service.states import (
    ChipHealth,
    ChipState,
    Scope,
    Split,
    TargetSetState,
)

# Teachers, target sets, students


NETWORK_TEXT_MAX = 4 * 2**20  # characters; twice what 2,000 layers need


def _of_bounded_length(text: Any) -> Any:
    """Return the text of a network. Raises ValueError, before it is parsed."""
    if isinstance(text, str) and len(text) > NETWORK_TEXT_MAX:
        raise ValueError(f"a network has at most {NETWORK_TEXT_MAX} characters")
    return text


class TeacherMetadata(Request):
    """Metadata of the uploaded safetensors block; `network` is JSON text."""

    name: Title
    network: Annotated[JsonText[NetworkSpec], BeforeValidator(_of_bounded_length)]


class TeacherRequest(Request):
    """A teacher by its network alone: its owner keeps the weights, and sends activations."""

    name: Title
    network: NetworkSpec


class TeacherItem(View):
    """A teacher in a list, without its network."""

    id: str
    name: str
    weights_sha256: str | None  # null: the owner keeps them; target sets bring activations
    created_at: datetime


class TeacherView(TeacherItem):
    """A teacher: its network, and the digest of its weights if they are here."""

    network: NetworkSpec


class TargetSetRequest(Request):
    """A target set to be made from a teacher and samples that are uploaded in chunks."""

    name: Title
    teacher_id: IdOrName
    chunks: int = Field(ge=1, le=100_000)  # how many will be uploaded; they are numbered from 0
    percentile: float = Field(default=99.0, gt=0, le=100)


class ChunkView(View):
    """A chunk of samples that has arrived."""

    index: int
    split: Split
    samples: int
    sha256: str


class TargetSetItem(View):
    """A target set in a list, which does not say which chunks are missing."""

    id: str
    name: str
    teacher_id: str
    state: TargetSetState
    reason: str | None
    chunks: int
    received: int  # how many chunks have arrived
    percentile: float
    summary: Json | None
    created_at: datetime


class TargetSetView(TargetSetItem):
    """A target set. A `collect` job makes it ready; `summary` then holds what the job found."""

    missing: list[int]  # the indices that have not arrived


class StudentView(View):
    """A golden student: its rule, its accuracy, and the digest of its block."""

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
    """A named chip preset and a seed, with overrides of fields of its spec."""

    preset: str = Field(min_length=1, max_length=80)
    seed: int = Field(ge=0, lt=2**63)
    overrides: JsonObject = Field(default={})


class ChipRequest(Request):
    """A chip to be registered: its backend and the settings of that backend."""

    name: Title
    backend: str = Field(default="simulated", min_length=1, max_length=40)
    settings: Annotated[
        JsonObject, DescribedAs(SimulatedChipSettings, JsonObject)
    ]  # of the backend


class ChipPatch(Request):
    """What can be changed of a chip."""

    name: Title


class PredictedLossView(View):
    """Accuracy that a chip is predicted to have lost since publication, in points."""

    points: float
    low: float  # the loss is in [low, high] in nine cases out of ten
    high: float


class ValidityView(View):
    """Age at which a version is predicted to have lost a point of accuracy, on the chip's clock.

    No age is above ten years (315576000); such an age means that no end is in sight.
    """

    age_s: float
    low_s: float  # the age is in [low_s, high_s] in nine cases out of ten
    high_s: float


class ChipView(View):
    """A chip: its state, its health, and the version in force."""

    id: str
    name: str
    backend: str
    settings: Annotated[Json, DescribedAs(SimulatedChipSettings, JsonObject)]  # of the backend
    info: Annotated[Json, DescribedAs(ChipInformation, NothingKnown)]
    state: ChipState
    health: ChipHealth
    accuracy: float | None  # in the last measurement
    drift_score: float | None  # of the last probe: distance from publication, dimensionless
    predicted_loss: PredictedLossView | None = None  # by the last probe
    version_in_force: int | None
    validity: ValidityView | None = None  # of the version in force
    valid_until: datetime | None = None  # when it reaches `low_s`; null if that is not in sight
    queue_depth: int
    running_job_id: str | None
    created_at: datetime
    retired_at: datetime | None


class WeightVersionView(View):
    """A published set of calibrated weights of one chip."""

    id: str
    chip_id: str
    version: int
    job_id: str
    student_id: str
    target_set_id: str
    sha256: str
    chip_time_s: float
    temperature_kelvin: float | None = None  # of the chip at publication, if it is known
    validity: ValidityView | None = None
    rule: str
    observable: str
    accuracy: Json  # golden, before, after
    fingerprint: Json | None
    code_version: str
    created_at: datetime


# Keys, health, problems


class KeyRequest(Request):
    """An API key to be made."""

    name: Title
    scopes: list[Scope] = Field(min_length=1, max_length=len(Scope))
    expires_at: Instant | None = None  # in the future; null: never


class KeyView(View):
    """An API key, without the key itself."""

    id: str
    name: str
    scopes: list[Scope]
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None
    last_used_at: datetime | None = None  # up to a minute late


class NewKeyView(KeyView):
    """A new API key with the key itself."""

    key: str  # shown only once; the service stores its hash


class HealthView(View):
    """The service answers."""

    status: Literal["ok"] = "ok"
    version: str


class FieldError(View):
    """One field of a request that was refused, and why."""

    pointer: str | None = None  # into the body, RFC 6901
    parameter: str | None = None  # of the query, the path or the headers
    message: str


class Problem(BaseModel):
    """A problem (RFC 9457). `type` is stable; each type may have more fields."""

    model_config = ConfigDict(frozen=True, extra="allow")

    type: str
    title: str
    status: int
    detail: str  # a sentence that says what is wrong and what to do
    instance: str | None = None
    errors: list[FieldError] | None = None
