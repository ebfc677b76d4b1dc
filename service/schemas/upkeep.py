"""Bodies about the upkeep of chips: fingerprints, and policies for probes and calibrations."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import Field, StrictBool, field_validator, model_validator

from ltl_core.settings import CalibrationSettings, Data
from service.daily_times import daily_times
from service.schemas.base import INTEGER_MAX, IdOrName, Interval, Json, Request, View
from service.schemas.resources import PredictedLossView


class FingerprintView(View):
    """A probe's result; `score` is the distance from publication, in spreads of the columns."""

    id: str
    chip_id: str
    job_id: str
    version: int | None  # the weight version in force at that time
    score: float | None
    predicted_loss: PredictedLossView | None = None
    lost_points: float | None = None  # what an evaluation soon afterwards measured, points
    chip_time_s: float
    created_at: datetime


class WholeFingerprintView(FingerprintView):
    """A fingerprint with the mean rate of every column, layer by layer."""

    rates: Json
    noise: Json | None  # variance of one probe, mean over the columns
    probes: int  # how many probes the rates are the mean of


TimeOfDay = Annotated[str, Field(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")]  # HH:MM, UTC


class QuietHours(Request):
    """Hours of every day in which no planned job begins; UTC. `end` may be on the next day."""

    begin: TimeOfDay
    end: TimeOfDay


class PolicyRequest(Request):
    """When the service probes and calibrates a chip automatically; null means never."""

    enabled: StrictBool = True
    probe_every_s: Interval | None = None
    calibrate_at_score: float | None = Field(
        default=None, gt=0, le=1000
    )  # drift score of a probe at which a calibration is planned
    calibrate_every_s: Interval | None = None  # since the last calibration
    calibrate_after_jobs: int | None = Field(
        default=None, ge=1, le=INTEGER_MAX
    )  # jobs since the last calibration; probes do not count
    # Act before the weights in force are predicted to have lost a point of accuracy.
    calibrate_before_expiry: StrictBool = False
    quiet_hours: list[QuietHours] = Field(default=[], max_length=24)
    fixed_times: list[TimeOfDay] = Field(default=[], max_length=96)  # planned jobs begin then alone
    # Shortest time between two calibrations.
    pause_s: float = Field(default=3600.0, ge=0, le=10 * 366 * 86_400)
    student_id: IdOrName | None = None  # None: the student of the version in force
    # Synthetic stimuli: a lab need not leave its data on the service.
    settings: CalibrationSettings = CalibrationSettings(data=Data.SYNTHETIC)
    priority: int = Field(default=8, ge=0, le=9)  # 9 goes last

    @model_validator(mode="after")
    def _some_time_is_open(self) -> "PolicyRequest":
        quiet = [hours.model_dump() for hours in self.quiet_hours]
        if daily_times(quiet, self.fixed_times).never:
            raise ValueError("quiet_hours leave no time of day at which a job may begin")
        return self


class PolicyView(View):
    """When a chip is probed and calibrated without being asked."""

    chip_id: str
    enabled: bool
    probe_every_s: float | None
    calibrate_at_score: float | None
    calibrate_every_s: float | None
    calibrate_after_jobs: int | None
    calibrate_before_expiry: bool
    quiet_hours: list[QuietHours]
    fixed_times: list[str]
    pause_s: float
    student_id: str | None
    settings: Json
    priority: int
    jobs: int  # jobs that ended since the last calibration
    calibrated_at: datetime | None
    probe_due_at: datetime | None
    calibrate_due_at: datetime | None
    expiry_due_at: datetime | None  # when to act before the validity ends
    note: str | None  # why the last planned job was not submitted
    created_at: datetime
    updated_at: datetime

    @field_validator("quiet_hours", "fixed_times", mode="before")
    @classmethod
    def _none_in_earlier_rows(cls, value: Any) -> Any:
        return value or []
