"""Weight versions: what calibrations published for each chip."""

import zlib
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session, defer
from uuid_utils import uuid7

from service.damage_errors import WeightsDamagedError
from service.db.base import Json
from service.db.repositories.events import EventRepository, Subject
from service.db.repositories.jobs import JobRepository
from service.db.repositories.paging import PageRequest, RowPage, fetch_page
from service.db.repositories.versions import in_force
from service.db.tables import Chip, WeightVersion
from service.digests import sha256_hex
from service.errors import WeightVersionNotFoundError


class Publication(NamedTuple):
    """The result of a calibration, to be published as a chip's next version."""

    job_id: str
    token: int
    block: bytes  # codes, trims and scales, safetensors
    chip_time: float  # s, on the chip's clock
    rule: str
    observable: str
    accuracy: Json  # golden, before, after
    fingerprint: Json | None
    code_version: str
    cells_age: float | None = None  # s, see `shelf_life.cells_age`
    temperature: float | None = None  # K


class ChipValidity(NamedTuple):
    """How long the version in force on one chip is valid."""

    model: str | None  # of the chip
    validity: Json


class WeightRepository:
    """Queries of weight versions."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def publish(self, publication: Publication, now: datetime) -> WeightVersion:
        """Store the chip's next version, which is in force from now on.

        A job that has published already gets the same version again. Raises AttemptSupersededError
        if the job no longer drives the chip.
        """
        JobRepository(self._session).check_driven_by(publication.job_id, publication.token)
        if published := self.of_job(publication.job_id):
            return published
        version = self._number(publication, now)
        self._session.add(version)
        self._session.flush()
        self._session.execute(
            update(Chip)
            .where(Chip.id == version.chip_id)
            .values(version_in_force=version.version, validity=None, valid_until=None)
        )
        self._emit(version)
        return version

    def of_job(self, job_id: str) -> WeightVersion | None:
        """Return the version that this job published, or None."""
        return self._session.scalar(select(WeightVersion).where(WeightVersion.job_id == job_id))

    def list(self, chip_id: str, page: PageRequest) -> RowPage[WeightVersion]:
        """Return one page of versions without their blocks."""
        query = select(WeightVersion).where(WeightVersion.chip_id == chip_id)
        query = query.options(defer(WeightVersion.block))
        return fetch_page(self._session, query, WeightVersion.id, page)

    def get(self, chip_id: str, version: int) -> WeightVersion:
        """Return one version with its block. Raises WeightVersionNotFoundError."""
        found = self._session.scalar(
            select(WeightVersion).where(
                WeightVersion.chip_id == chip_id, WeightVersion.version == version
            )
        )
        if found is None:
            raise WeightVersionNotFoundError(str(version))
        return found

    def block_of(self, version: WeightVersion) -> bytes:
        """Return codes and trims of a version. Raises WeightsDamagedError if they are not those."""
        try:
            block = zlib.decompress(version.block)
        except zlib.error:
            block = b""
        if sha256_hex(block) != version.sha256:
            raise WeightsDamagedError(version.chip_id, version.version)
        return block

    def in_force(self, chip_id: str) -> WeightVersion | None:
        """Return the version in force on a chip, without its block; None if there is none."""
        query = select(WeightVersion).join(Chip, in_force()).where(Chip.id == chip_id)
        return self._session.scalar(query.options(defer(WeightVersion.block)))

    def set_validity(
        self, version: WeightVersion, validity: Json, valid_until: datetime | None
    ) -> None:
        """Store how long a version in force is valid, with it and with its chip."""
        version.validity = validity
        self._session.execute(
            update(Chip)
            .where(Chip.id == version.chip_id, Chip.version_in_force == version.version)
            .values(validity=validity, valid_until=valid_until)
        )

    def other_validities(
        self, chip_id: str, student_id: str, limit: int
    ) -> tuple[ChipValidity, ...]:
        """Return the validities in force on other chips with codes of this student."""
        query = (
            select(Chip.info, WeightVersion.validity)
            .join(WeightVersion, in_force())
            .where(
                WeightVersion.student_id == student_id,
                WeightVersion.validity.is_not(None),
                Chip.id != chip_id,
            )
            .order_by(WeightVersion.id.desc())
            .limit(limit)
        )
        found = self._session.execute(query)
        return tuple(ChipValidity(row.info.get("model"), row.validity or {}) for row in found)

    def _number(self, publication: Publication, now: datetime) -> WeightVersion:
        job = JobRepository(self._session).get(publication.job_id)
        if job.chip_id is None or job.student_id is None or job.target_set_id is None:
            raise ValueError(f"Job {job.id} of kind {job.kind} has no chip to publish weights for.")
        highest = select(func.max(WeightVersion.version)).where(
            WeightVersion.chip_id == job.chip_id
        )
        return WeightVersion(
            id=str(uuid7()),
            chip_id=job.chip_id,
            version=(self._session.scalar(highest) or 0) + 1,
            job_id=job.id,
            student_id=job.student_id,
            target_set_id=job.target_set_id,
            token=publication.token,
            sha256=sha256_hex(publication.block),
            block=zlib.compress(publication.block),
            fingerprint=publication.fingerprint,
            chip_time_s=publication.chip_time,
            cells_age_s=publication.cells_age,
            temperature_kelvin=publication.temperature,
            rule=publication.rule,
            observable=publication.observable,
            accuracy=publication.accuracy,
            code_version=publication.code_version,
            created_at=now,
        )

    def _emit(self, version: WeightVersion) -> None:
        EventRepository(self._session).append(
            Subject(version.job_id, version.chip_id),
            "weights.published",
            "",
            {"version": version.version, "sha256": version.sha256, "accuracy": version.accuracy},
            version.created_at,
        )
