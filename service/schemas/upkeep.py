"""What travels about the upkeep of chips: fingerprints, and when chips are due."""

from datetime import datetime

from pydantic import Field

from ltl_core.settings import CalibrationSettings
from service.schemas.base import Json, Request, ResourceId, View


class FingerprintView(View):
    """A probe's finding: `score` is the distance from publication, in spreads of the columns."""

    id: str
    chip_id: str
    job_id: str
    version: int | None  # the weight version in force then
    score: float | None
    chip_time_s: float
    created_at: datetime


class WholeFingerprintView(FingerprintView):
    """With the mean rate of every column, layer by layer."""

    rates: Json
    noise: Json | None  # variance of one probe, mean over the columns
    probes: int  # of which the rates are the mean


class PolicyRequest(Request):
    """When the service probes and calibrates a chip without being asked; null is never."""

    enabled: bool = True
    probe_every_s: float | None = Field(default=None, ge=1)
    calibrate_at_score: float | None = Field(default=None, gt=0)  # drift score of a probe
    calibrate_every_s: float | None = Field(default=None, ge=1)  # since the last calibration
    calibrate_after_jobs: int | None = Field(default=None, ge=1)  # probes do not count
    pause_s: float = Field(default=3600.0, ge=0)  # at least so long between two calibrations
    student_id: ResourceId | None = None  # None: that of the version in force
    settings: CalibrationSettings = CalibrationSettings()
    priority: int = Field(default=8, ge=0, le=9)  # 9 goes last


class PolicyView(View):
    chip_id: str
    enabled: bool
    probe_every_s: float | None
    calibrate_at_score: float | None
    calibrate_every_s: float | None
    calibrate_after_jobs: int | None
    pause_s: float
    student_id: str | None
    settings: Json
    priority: int
    jobs: int  # that ended since the last calibration
    calibrated_at: datetime | None
    probe_due_at: datetime | None
    calibrate_due_at: datetime | None
    note: str | None  # why the last plan came to nothing
    created_at: datetime
    updated_at: datetime
