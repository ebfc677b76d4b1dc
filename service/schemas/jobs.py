"""Bodies about jobs: requests for each kind, the view of a job, its events."""

from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, model_validator

from ltl_core.settings import Budget
from service.schemas.base import DescribedAs, IdOrName, Instant, Json, Request, View
from service.states import JobStatus, OpenStatus


class Submission(Request):
    """Asks for a job; each kind of job has a body of its own, in `service/jobs/kinds`."""

    if TYPE_CHECKING:
        kind: str  # each body declares it after these fields: their order enters its digest
    priority: int = Field(default=5, ge=0, le=9)  # 0 goes first
    not_before: Instant | None = None
    queue_deadline: Instant | None = None  # a job that has not started by then expires

    @model_validator(mode="after")
    def _can_start(self) -> "Submission":
        if self.not_before and self.queue_deadline and self.queue_deadline <= self.not_before:
            raise ValueError("queue_deadline must be later than not_before")
        return self


class ChipSubmission(Submission):
    """Asks for a job with a chip."""

    chip_id: IdOrName
    if_unavailable: Literal["queue", "reject"] = "queue"  # what to do while the chip is offline
    # Passes in which a network that is larger than the chip may be placed, part after part; every
    # run of the chip writes all parts again. Left out of what is stored where it is 1.
    passes_max: int = Field(default=1, ge=1, le=10_000, exclude_if=lambda found: found == 1)


class JobChange(StrEnum):
    """What a calibration may change: cells and registers, or registers alone."""

    AUTO = "auto"
    TRIMS = "trims"


class JobView(View):
    """A job. Clients wait for `terminal`: statuses may be added, its meaning stays."""

    id: str
    kind: str  # of a closed set that the service publishes
    status: JobStatus
    terminal: bool
    reason: str | None
    teacher_id: str | None
    target_set_id: str | None
    student_id: str | None
    chip_id: str | None
    settings: Json  # as accepted, with the defaults filled in
    rule: str | None  # these five as in `settings`; null where the kind has none
    change: JobChange | None
    observable: str | None
    seed: int | None
    budget: Annotated[Json, DescribedAs(Budget)] | None
    priority: int
    not_before: datetime | None
    queue_deadline: datetime | None
    queue_position: int | None  # among the jobs that wait for the same chip; 1 is next
    expected_start: datetime | None  # from the durations of the chip's last jobs; null: unknown
    progress: Json | None
    spent: Json | None
    result: Json | None
    weights_in_force: str | None  # id of the chip's version when the job started
    version_at_start: int | None  # the number of that version
    fingerprint_at_start: str | None  # id of the chip's newest fingerprint at that time
    attempt: int
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    code_version: str


class CancelRequest(Request):
    """Which open jobs to cancel: those to which all that is given applies."""

    chip_id: IdOrName | None = None
    status: list[OpenStatus] | None = Field(default=None, min_length=1, max_length=3)
    kind: str | None = Field(default=None, min_length=1, max_length=20)
    limit: int = Field(default=500, ge=1, le=500)  # jobs of one request, the oldest first

    @model_validator(mode="after")
    def _names_something(self) -> "CancelRequest":
        if self.chip_id is None and self.status is None and self.kind is None:
            raise ValueError("name a chip, a status or a kind; all open jobs have a status")
        return self


class CancelledView(View):
    """What one request cancelled. Running jobs stop after their current step."""

    cancelled: int
    job_ids: list[str]
    more: bool  # whether open jobs are left to which the request applies


class EventView(View):
    """An event of a job or a chip: append-only, numbered in order."""

    seq: int
    type: str
    job_id: str | None
    chip_id: str | None
    data: Json
    created_at: datetime
