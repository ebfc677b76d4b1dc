"""Chips, and the weight versions that calibrations published for them."""

import zlib
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session, defer
from uuid_utils import uuid7

from service.db.repositories.events import EventRepository
from service.db.repositories.jobs import JobRepository
from service.db.repositories.paging import PageRequest, fetch_page
from service.db.tables import Chip, ChipLease, Json, WeightVersion
from service.digests import sha256_hex
from service.errors import (
    ChipNotFoundError,
    ChipRetiredError,
    NameTakenError,
    WeightVersionNotFoundError,
)
from service.states import ChipHealth


class ChipFilter(NamedTuple):
    health: ChipHealth | None = None
    backend: str | None = None
    name: str | None = None


class ChipRepository:
    def __init__(self, session: Session) -> None:
        self._session = session

    def get(self, chip_id: str) -> Chip:
        """Raises ChipNotFoundError."""
        chip = self._session.get(Chip, chip_id, populate_existing=True)
        if chip is None:
            raise ChipNotFoundError(chip_id)
        return chip

    def get_usable(self, chip_id: str) -> Chip:
        """A chip that takes jobs, at least until this unit ends.

        Raises ChipNotFoundError and ChipRetiredError.
        """
        self._session.execute(select(Chip.id).where(Chip.id == chip_id).with_for_update(read=True))
        chip = self.get(chip_id)
        if chip.retired_at is not None:
            raise ChipRetiredError(chip_id)
        return chip

    def list(self, wanted: ChipFilter, page: PageRequest) -> tuple[list[Chip], str | None]:
        query = select(Chip)
        if wanted.health is not None:
            query = query.where(Chip.health == wanted.health)
        if wanted.backend is not None:
            query = query.where(Chip.backend == wanted.backend)
        if wanted.name is not None:
            query = query.where(Chip.name == wanted.name)
        return fetch_page(self._session, query, Chip.id, page)

    def add(self, chip: Chip) -> None:
        """Register it, with a lease that nobody holds. Raises NameTakenError."""
        self._refuse_taken(chip.name)
        self._session.add(chip)
        self._session.flush()
        self._session.add(ChipLease(chip_id=chip.id, token=0, expires_at=chip.created_at))
        self._tell(chip.id, "chip.registered", {"name": chip.name}, chip.created_at)

    def rename(self, chip_id: str, name: str) -> Chip:
        """Raises ChipNotFoundError and NameTakenError."""
        chip = self.get(chip_id)
        if chip.name != name:
            self._refuse_taken(name)
            chip.name = name
            self._session.flush()
        return chip

    def retire(self, chip_id: str, now: datetime) -> Chip:
        """No more jobs; its history stays. Retiring it again changes nothing."""
        chip = self.get(chip_id)
        if chip.retired_at is None:
            chip.retired_at, chip.health = now, ChipHealth.RETIRED
            self._tell(chip_id, "chip.retired", {"name": chip.name}, now)
        return chip

    def record_accuracy(self, chip_id: str, accuracy: float) -> None:
        """As last measured."""
        self._session.execute(update(Chip).where(Chip.id == chip_id).values(accuracy=accuracy))

    def set_health(self, chip_id: str, health: ChipHealth, job_id: str, now: datetime) -> None:
        """As a job found it, told where it changed. A retired chip stays retired."""
        before = self._session.scalar(
            select(Chip.health).where(Chip.id == chip_id, Chip.retired_at.is_(None))
        )
        if before is None or before == health:
            return
        chip = self._session.execute(
            update(Chip)
            .where(Chip.id == chip_id)
            .values(health=health)
            .returning(Chip.accuracy, Chip.drift_score)
        ).one()
        told = {"from": before, "to": health} | chip._asdict()
        EventRepository(self._session).append(
            job_id, "chip.health_changed", "", told, now=now, job_id=job_id, chip_id=chip_id
        )

    def leased(self, chip_ids: Sequence[str], now: datetime) -> dict[str, str | None]:
        """The chips among these that are held now, each with the job that holds it."""
        query = select(ChipLease.chip_id, ChipLease.job_id).where(
            ChipLease.chip_id.in_(chip_ids),
            ChipLease.holder.is_not(None),
            ChipLease.expires_at >= now,
        )
        return {row.chip_id: row.job_id for row in self._session.execute(query)}

    def _refuse_taken(self, name: str) -> None:
        if self._session.scalar(select(Chip.id).where(Chip.name == name)) is not None:
            raise NameTakenError("chip", name)

    def _tell(self, chip_id: str, type: str, data: Json, now: datetime) -> None:
        EventRepository(self._session).append(chip_id, type, "", data, now=now, chip_id=chip_id)


class Publication(NamedTuple):
    """What a calibration found, ready to become a chip's next version."""

    job_id: str
    token: int
    block: bytes  # codes, trims and scales, safetensors
    chip_time: float  # s, on the chip's clock
    rule: str
    observable: str
    accuracy: Json  # golden, before, after
    fingerprint: Json | None
    code_version: str


class WeightRepository:
    def __init__(self, session: Session) -> None:
        self._session = session

    def publish(self, publication: Publication, now: datetime) -> WeightVersion:
        """The chip's next version, in force from now on; once a job.

        A job that published before gets that same version again. Raises AttemptSupersededError
        where the job no longer drives the chip.
        """
        JobRepository(self._session).check_driven_by(publication.job_id, publication.token)
        if published := self.of_job(publication.job_id):
            return published
        version = self._number(publication, now)
        self._session.add(version)
        self._session.flush()
        self._session.execute(
            update(Chip).where(Chip.id == version.chip_id).values(version_in_force=version.version)
        )
        self._tell(version)
        return version

    def of_job(self, job_id: str) -> WeightVersion | None:
        return self._session.scalar(select(WeightVersion).where(WeightVersion.job_id == job_id))

    def list(self, chip_id: str, page: PageRequest) -> tuple[list[WeightVersion], str | None]:
        """Without their blocks."""
        query = select(WeightVersion).where(WeightVersion.chip_id == chip_id)
        query = query.options(defer(WeightVersion.block))
        return fetch_page(self._session, query, WeightVersion.id, page)

    def get(self, chip_id: str, version: int) -> WeightVersion:
        """Raises WeightVersionNotFoundError."""
        found = self._session.scalar(
            select(WeightVersion).where(
                WeightVersion.chip_id == chip_id, WeightVersion.version == version
            )
        )
        if found is None:
            raise WeightVersionNotFoundError(str(version))
        return found

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
            rule=publication.rule,
            observable=publication.observable,
            accuracy=publication.accuracy,
            code_version=publication.code_version,
            created_at=now,
        )

    def _tell(self, version: WeightVersion) -> None:
        EventRepository(self._session).append(
            version.job_id,
            "weights.published",
            "",
            {"version": version.version, "sha256": version.sha256, "accuracy": version.accuracy},
            now=version.created_at,
            job_id=version.job_id,
            chip_id=version.chip_id,
        )
