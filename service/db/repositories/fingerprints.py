"""Fingerprints of chips, and their distances from publication (drift scores)."""

import json
import zlib
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import func, select, text, update
from sqlalchemy.orm import Session, aliased, defer
from uuid_utils import uuid7

from service.db.base import Json
from service.db.repositories.paging import PageRequest, RowPage, fetch_page
from service.db.repositories.rows import load_row
from service.db.repositories.upsert import insert_if_new
from service.db.repositories.versions import of_fingerprint
from service.db.tables import Chip, Job, WeightVersion
from service.db.upkeep_tables import EVALUATED, Fingerprint
from service.errors import FingerprintNotFoundError

CALIBRATE = "calibrate"  # the kind of job that publishes versions
_SAME_AGE = 1.5  # times the age at a probe: an evaluation up to then measures the same drift
_AT_ONCE = timedelta(minutes=1)  # after a probe: so long an evaluation may always take


class ProbeRecord(NamedTuple):
    """The result of one probe."""

    chip_id: str
    job_id: str
    version: int | None
    answer: Json  # the fingerprint itself
    score: float | None
    predicted_loss: Json | None  # points, low, high
    chip_time: float  # s, on the chip's clock


class ProbeOutcome(NamedTuple):
    """The score of a probe, and the loss that an evaluation soon afterwards measured."""

    chip_id: str
    score: float
    lost_points: float


class DriftRecord(NamedTuple):
    """One fingerprint of a chip, and the version that was in force."""

    version: WeightVersion  # without its block
    fingerprint: Fingerprint
    by_calibration: bool  # at publication, or after drift was compensated; else by a probe


class FingerprintRepository:
    """Stores and reads the fingerprints of chips."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def keep(self, probed: ProbeRecord, now: datetime) -> None:
        """Store the fingerprint of a job, once; the chip takes its score as drift score."""
        values: dict[str, Any] = {
            "id": str(uuid7()),
            "chip_id": probed.chip_id,
            "job_id": probed.job_id,
            "version": probed.version,
            "answer": zlib.compress(json.dumps(probed.answer).encode()),
            "score": probed.score,
            "predicted_loss": probed.predicted_loss,
            "chip_time_s": probed.chip_time,
            "created_at": now,
        }
        if insert_if_new(self._session, Fingerprint, values):
            found = {"drift_score": probed.score, "predicted_loss": probed.predicted_loss}
            self._session.execute(update(Chip).where(Chip.id == probed.chip_id).values(found))

    def record_loss(self, version: WeightVersion, lost_points: float, now: datetime) -> None:
        """Record a measured loss with the last probe of the version, unless it is too old.

        The age of the version may have grown by half since the probe: drift is about logarithmic.
        """
        query = (
            select(Fingerprint)
            .where(Fingerprint.chip_id == version.chip_id, Fingerprint.version == version.version)
            .order_by(Fingerprint.id.desc())
            .limit(1)
        )
        probed = self._session.scalar(query.options(defer(Fingerprint.answer)))
        if probed is None or probed.score is None:
            return
        age, age_now = probed.created_at - version.created_at, now - version.created_at
        if age_now <= max(_SAME_AGE * age, age + _AT_ONCE):
            probed.lost_points = lost_points

    def outcomes(self, student_id: str, limit: int) -> list[ProbeOutcome]:
        """Return the newest probes of any chip with this student that an evaluation followed."""
        query = (
            select(Fingerprint.chip_id, Fingerprint.score, Fingerprint.lost_points)
            .join(WeightVersion, of_fingerprint())
            .where(
                WeightVersion.student_id == student_id,
                text(EVALUATED),
                Fingerprint.score.is_not(None),
            )
            .order_by(Fingerprint.id.desc())
            .limit(limit)
        )
        return [
            ProbeOutcome(row.chip_id, row.score or 0.0, row.lost_points or 0.0)
            for row in self._session.execute(query)
        ]

    def history(self, chip_id: str, student_id: str, limit: int) -> list[DriftRecord]:
        """Return the newest fingerprints of a chip with one student's codes, oldest first."""
        query = (
            select(WeightVersion, Fingerprint, Job.kind)
            .select_from(Fingerprint)
            .join(WeightVersion, of_fingerprint())
            .join(Job, Job.id == Fingerprint.job_id)
            .where(Fingerprint.chip_id == chip_id, WeightVersion.student_id == student_id)
            .options(defer(WeightVersion.block))
            .order_by(Fingerprint.id.desc())
            .limit(limit)
        )
        found = self._session.execute(query).all()
        return [
            DriftRecord(version, fingerprint, kind == CALIBRATE)
            for version, fingerprint, kind in reversed(found)
        ]

    def last_scores(self, chip_ids: Sequence[str], count: int) -> dict[str, list[float]]:
        """Return per chip the scores of its last `count` probes, oldest first."""
        earlier = aliased(Fingerprint)
        first = (  # found by the index, whatever the number of fingerprints
            select(earlier.id)
            .where(earlier.chip_id == Chip.id)
            .order_by(earlier.id.desc())
            .offset(count - 1)
            .limit(1)
            .correlate(Chip)
            .scalar_subquery()
        )
        query = (
            select(Fingerprint.chip_id, Fingerprint.score)
            .join(Chip, Chip.id == Fingerprint.chip_id)
            .where(Chip.id.in_(chip_ids), Fingerprint.id >= func.coalesce(first, ""))
            .order_by(Fingerprint.id)
        )
        scores: dict[str, list[float]] = {}
        for row in self._session.execute(query):
            if row.score is not None:
                scores.setdefault(row.chip_id, []).append(row.score)
        return scores

    def get(self, chip_id: str, fingerprint_id: str) -> Fingerprint:
        """Return one fingerprint of this chip. Raises FingerprintNotFoundError."""
        found = load_row(self._session, Fingerprint, fingerprint_id, FingerprintNotFoundError.what)
        if found is None or found.chip_id != chip_id:
            raise FingerprintNotFoundError(fingerprint_id)
        return found

    def list(self, chip_id: str, page: PageRequest) -> RowPage[Fingerprint]:
        """Return one page of fingerprints without their answers."""
        query = select(Fingerprint).where(Fingerprint.chip_id == chip_id)
        query = query.options(defer(Fingerprint.answer))
        return fetch_page(self._session, query, Fingerprint.id, page)


def answer_of(fingerprint: Fingerprint) -> Json:
    """Unpack a fingerprint: rates of each column per layer, their noise, number of probes."""
    answer: Json = json.loads(zlib.decompress(fingerprint.answer))
    return answer
