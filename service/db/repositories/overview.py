"""Queries for the pages: last calibrations, running jobs, names of chips, counts."""

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from service.db.base import Json
from service.db.isolation import readable_rows
from service.db.tables import CALIBRATED, Chip, Job
from service.states import ACTIVE, OPEN, ChipHealth


class LastCalibration(NamedTuple):
    """The newest calibration of a chip that succeeded."""

    job_id: str
    result: Json


class OverviewRepository:
    """Reads what the pages show of many chips and jobs."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def last_calibrations(self, chip_ids: Sequence[str]) -> dict[str, LastCalibration]:
        """Return the last calibration of each chip; chips never calibrated are absent."""
        newest = (  # found by the index, whatever the number of jobs
            select(func.max(Job.id))
            .where(Job.chip_id == Chip.id, text(CALIBRATED))
            .correlate(Chip)
            .scalar_subquery()
        )
        wanted = select(newest).where(Chip.id.in_(chip_ids))
        query = select(Job.chip_id, Job.id, Job.result).where(Job.id.in_(wanted))
        rows = readable_rows(self._session, query, Job.id).rows
        return {chip: LastCalibration(job, result) for chip, job, result in rows if chip and result}

    def running_jobs(self, chip_ids: Sequence[str]) -> dict[str, Job]:
        """Return the job that drives each chip now; idle chips are absent."""
        query = select(Job).where(Job.chip_id.in_(chip_ids), Job.status.in_(ACTIVE))
        rows = readable_rows(self._session, query, Job.id).rows
        return {row.Job.chip_id: row.Job for row in rows if row.Job.chip_id}

    def chip_names(self, chip_ids: Sequence[str]) -> dict[str, str]:
        """Return the names of these chips, by id."""
        query = select(Chip.id, Chip.name).where(Chip.id.in_(chip_ids))
        return {row.id: row.name for row in self._session.execute(query)}

    def health_counts(self) -> dict[str, int]:
        """Count the chips of each health; damaged rows that have another word are left out."""
        query = select(Chip.health, func.count().label("chips")).where(Chip.health.in_(ChipHealth))
        rows = self._session.execute(query.group_by(Chip.health))
        return {row.health: row.chips for row in rows}

    def open_jobs(self) -> dict[str, int]:
        """Count the jobs of each status that is not terminal."""
        query = select(Job.status, func.count().label("jobs")).where(Job.status.in_(OPEN))
        rows = self._session.execute(query.group_by(Job.status))
        return {row.status: row.jobs for row in rows}
