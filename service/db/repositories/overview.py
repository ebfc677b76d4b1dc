"""Queries for the pages: last calibrations, running jobs, names of chips, counts."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from service.db.base import Json
from service.db.isolation import readable_rows
from service.db.tables import CALIBRATED, Chip, Job
from service.states import ACTIVE, OPEN, ChipHealth

_HEALTHS = frozenset(ChipHealth)


class LastCalibration(NamedTuple):
    """The newest calibration of a chip that succeeded."""

    job_id: str
    result: Json


class ChipFacts(NamedTuple):
    """What is known of a chip at a glance."""

    id: str
    name: str
    health: str
    drift_score: float | None


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

    def all_chips(self) -> list[ChipFacts]:
        """Return all chips in the order of their ids; one whose row is damaged has its id alone."""
        of = Chip.__table__.c  # plain columns: nothing is made into objects that live on
        query = select(of.id, of.name, of.health, of.drift_score).order_by(of.id)
        found = readable_rows(self._session, query, Chip.id)
        chips = [_facts(*row) for row in found.rows]
        return chips + [ChipFacts(id, id, ChipHealth.UNKNOWN, None) for id in found.unreadable]

    def chip_names(self, chip_ids: Sequence[str]) -> dict[str, str]:
        """Return the names of these chips, by id."""
        query = select(Chip.id, Chip.name).where(Chip.id.in_(chip_ids))
        return {row.id: row.name for row in self._session.execute(query)}

    def open_jobs(self) -> dict[str, int]:
        """Count the jobs of each status that is not terminal."""
        query = select(Job.status, func.count().label("jobs")).where(Job.status.in_(OPEN))
        rows = self._session.execute(query.group_by(Job.status))
        return {row.status: row.jobs for row in rows}


def _facts(id: str, name: str, health: str, score: object) -> ChipFacts:
    """Return the facts of a row; what a damaged one holds in place of them is not known."""
    known = health if health in _HEALTHS else ChipHealth.UNKNOWN
    known_score = score if isinstance(score, float) and math.isfinite(score) else None
    return ChipFacts(id, str(name), known, known_score)
