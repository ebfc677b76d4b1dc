"""What travels about the upkeep of chips: fingerprints, and when chips are due."""

from datetime import datetime

from service.api.schemas import Json, View


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
