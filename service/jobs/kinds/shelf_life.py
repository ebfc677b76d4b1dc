"""Shelf life of the weights in force on a chip, from its own drift so far and that of its fleet."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy.orm import Session

from ltl_core.calibration.prediction import Correction, LossCurve, Observation
from ltl_core.calibration.shelf_life import (
    DEFAULT_CURVE,
    FRESH_S,
    LONGEST_S,
    LogNormal,
    ProbePoint,
    Span,
    cells_age,
    chip_drift,
    fleet_rate,
    validity,
)
from service.db.repositories.chips import ChipRepository
from service.db.repositories.fingerprints import DriftRecord, FingerprintRepository, answer_of
from service.db.repositories.students import StudentRepository
from service.db.repositories.weights import WeightRepository
from service.db.tables import WeightVersion
from service.jobs.kinds.predicted_loss import OBSERVED, learned_correction
from service.jobs.messages import Json

_HISTORY = 24  # newest fingerprints of a chip that count
_FLEET = 50  # other chips that count
_SHORT = 600.0  # s: over a shorter time a chip's clock is taken to run as ours does


class ClockReading(NamedTuple):
    """What a chip's clock showed, and when."""

    chip_time_s: float
    at: datetime


def update_validity(
    session: Session, chip_id: str, now: ClockReading, known_rate: float | None
) -> Json | None:
    """Predict anew how long the version in force is valid, store it, and return it.

    `known_rate` says how many seconds pass on the chip's clock in one of ours; None if that has to
    be found from earlier readings. Returns None for a chip without weights in force.
    """
    weights = WeightRepository(session)
    version = weights.in_force(chip_id)
    if version is None:
        return None
    records = FingerprintRepository(session).history(chip_id, version.student_id, _HISTORY)
    points = list(_points(records))
    curve, corrected = _curve(session, version)
    drift = chip_drift([one.point for one in points], curve, corrected, _prior(session, version))
    found = validity(drift, curve, _span(version, points))
    stored = found.to_json() | {"rate": drift.rate.median if points else None}
    rate = clock_rate(_readings(records), now) if known_rate is None else known_rate
    left = version.chip_time_s + found.low_s - now.chip_time_s
    weights.set_validity(version, stored, _wall_time(now.at, left, rate))
    return stored


def age_of_cells(session: Session, chip_id: str, student_id: str, written: Json) -> float:
    """Return how old the cells of a chip are on which a calibration publishes weights, s.

    `written` is the calibration's result: the chip's clock, and what was spent. Another student's
    codes, or none, were in force before: then all cells were written.
    """
    before = WeightRepository(session).in_force(chip_id)
    if before is None or before.student_id != student_id:
        return FRESH_S
    kept = (before.cells_age_s or FRESH_S) + float(written["chip_time_s"]) - before.chip_time_s
    return cells_age(kept, float(written.get("spent", {}).get("cell_writes_per_cell", 1.0)))


def clock_rate(readings: Sequence[ClockReading], now: ClockReading) -> float:
    """Return how many seconds pass on the chip's clock in one of ours, since the first reading.

    Ten minutes at the rate one are added: jobs may let a simulated chip settle in no time.
    """
    first = min(readings, key=lambda reading: reading.at, default=now)
    wall, passed = (now.at - first.at).total_seconds(), now.chip_time_s - first.chip_time_s
    return max(passed + _SHORT, 0.0) / (max(wall, 0.0) + _SHORT)


class _SpanPoint(NamedTuple):
    version: int
    span: Span  # from this point on
    point: ProbePoint


def _points(records: Sequence[DriftRecord]) -> Iterator[_SpanPoint]:
    """Yield what each fingerprint after publication tells; unusable ones are left out."""
    version, span = 0, Span()
    for record in records:
        if record.version.version != version:
            version, span = record.version.version, _first_span(record.version)
        age = record.fingerprint.chip_time_s - record.version.chip_time_s
        score = record.fingerprint.score
        if score is None or age < 0 or record.fingerprint.job_id == record.version.job_id:
            continue
        if record.by_calibration:
            span = Span(age, span.cells_s + max(age - span.began_s, 0.0), score)
        yield _SpanPoint(version, span, ProbePoint(span, age, score, _observed(record)))


def _span(version: WeightVersion, points: Sequence[_SpanPoint]) -> Span:
    """Return the span in which the version is now."""
    spans = [one.span for one in points if one.version == version.version]
    return spans[-1] if spans else _first_span(version)


def _first_span(version: WeightVersion) -> Span:
    return Span(cells_s=max(version.cells_age_s or FRESH_S, FRESH_S))


def _observed(record: DriftRecord) -> Observation | None:
    """Return the loss since publication that the answers showed, if both times were observed."""
    then = (record.version.fingerprint or {}).get(OBSERVED)
    now = answer_of(record.fingerprint).get(OBSERVED)
    if then is None or now is None:
        return None
    return Observation.from_json(now).since(Observation.from_json(then))


def _curve(session: Session, version: WeightVersion) -> tuple[LossCurve, Correction | None]:
    """Return the student's loss curve with what evaluations taught; else one of other tasks."""
    stored = StudentRepository(session).get(version.student_id).loss_curve
    if stored is None:
        return DEFAULT_CURVE, None
    curve = LossCurve.from_json(stored)
    return curve, learned_correction(session, curve, version)


def _prior(session: Session, version: WeightVersion) -> LogNormal:
    """Return what other chips of the same model, with the same student, say of this one's drift."""
    model = ChipRepository(session).get(version.chip_id).info.get("model")
    others = WeightRepository(session).other_validities(version.chip_id, version.student_id, _FLEET)
    rates = [one.validity.get("rate") for one in others if one.model == model]
    return fleet_rate(float(rate) for rate in rates if rate is not None)


def _readings(records: Sequence[DriftRecord]) -> list[ClockReading]:
    return [
        ClockReading(one.fingerprint.chip_time_s, one.fingerprint.created_at) for one in records
    ]


def _wall_time(now: datetime, left: float, rate: float) -> datetime | None:
    """Return when `left` seconds have passed on the chip's clock; None if no end is in sight."""
    if left >= LONGEST_S * rate:
        return None
    return now + timedelta(seconds=max(left, 0.0) / rate) if left > 0 else now
