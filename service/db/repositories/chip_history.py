"""What happened to one chip: its versions, its probes, what was measured, what its jobs took."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from service.db.base import Json
from service.db.isolation import going_on, readable_rows
from service.db.repositories.fingerprints import answer_of
from service.db.tables import Job, Student, Teacher, WeightVersion
from service.db.upkeep_tables import Fingerprint
from service.states import JobStatus

_MEASURING = ("calibrate", "evaluate", "tune")  # kinds of jobs whose results have an accuracy
_MAPS_LOOKED_AT = 8  # newest fingerprints; those of earlier releases have no map


class PublishedVersion(NamedTuple):
    """A version that a calibration published."""

    version: int
    created_at: datetime
    accuracy: Json  # golden, before, after


class ProbedAt(NamedTuple):
    """What one fingerprint said."""

    at: datetime
    job_id: str
    version: int | None
    score: float | None
    loss: Json | None  # points, low, high


class MeasuredAt(NamedTuple):
    """The accuracies that a job measured, which published no version."""

    at: datetime
    job_id: str
    kind: str
    accuracy: Json


class JobCost(NamedTuple):
    """What one job took."""

    kind: str
    succeeded: bool
    spent: Json
    seconds: float | None  # None if it did not run to its end


class StudentName(NamedTuple):
    """A student as people know it: by its teacher and its rule."""

    id: str
    teacher: str
    rule: str
    created_at: datetime


class ChipHistoryRepository:
    """Reads the past of one chip, newest first; rows that cannot be read are left out."""

    def __init__(self, session: Session, chip_id: str) -> None:
        self._session = session
        self._chip_id = chip_id

    def versions(self, limit: int) -> list[PublishedVersion]:
        """Return the newest versions without their blocks and fingerprints."""
        of = WeightVersion
        query = select(of.version, of.created_at, of.accuracy)
        query = query.where(of.chip_id == self._chip_id).order_by(of.id.desc()).limit(limit)
        return [PublishedVersion(*row) for row in readable_rows(self._session, query, of.id).rows]

    def probes(self, limit: int) -> list[ProbedAt]:
        """Return what the newest fingerprints said."""
        of = Fingerprint
        query = select(of.created_at, of.job_id, of.version, of.score, of.predicted_loss)
        query = query.where(of.chip_id == self._chip_id).order_by(of.id.desc()).limit(limit)
        return [ProbedAt(*row) for row in readable_rows(self._session, query, of.id).rows]

    def measured(self, limit: int) -> list[MeasuredAt]:
        """Return the accuracies of the newest jobs that published no version."""
        query = (
            select(Job.ended_at, Job.id, Job.kind, Job.result)
            .outerjoin(WeightVersion, WeightVersion.job_id == Job.id)
            .where(
                Job.chip_id == self._chip_id,
                Job.status == JobStatus.SUCCEEDED,
                Job.kind.in_(_MEASURING),
                WeightVersion.id.is_(None),
            )
            .order_by(Job.id.desc())
            .limit(limit)
        )
        rows = readable_rows(self._session, query, Job.id).rows
        found = ((*row[:3], (row.result or {}).get("accuracy")) for row in rows if row.ended_at)
        return [MeasuredAt(*one) for one in found if isinstance(one[3], dict)]

    def weight_map(self) -> Json | None:
        """Return the newest map of the chip's weights; None if no job has kept one."""
        query = select(Fingerprint).where(Fingerprint.chip_id == self._chip_id)
        query = query.order_by(Fingerprint.id.desc()).limit(_MAPS_LOOKED_AT)
        for row in readable_rows(self._session, query, Fingerprint.id).rows:
            with going_on():
                found = answer_of(row[0]).get("weight_map")
                if isinstance(found, dict):
                    return found
        return None

    def costs(self, limit: int) -> list[JobCost]:
        """Return what the newest jobs took that have begun."""
        query = (
            select(Job.kind, Job.status, Job.spent, Job.started_at, Job.ended_at)
            .where(Job.chip_id == self._chip_id, Job.started_at.is_not(None))
            .order_by(Job.id.desc())
            .limit(limit)
        )
        return [_cost(*row) for row in readable_rows(self._session, query, Job.id).rows]


def _cost(
    kind: str, status: str, spent: object, began: datetime | None, ended: datetime | None
) -> JobCost:
    took = (ended - began).total_seconds() if began and ended else None
    return JobCost(
        kind, status == JobStatus.SUCCEEDED, spent if isinstance(spent, dict) else {}, took
    )


def student_names(session: Session, ids: Sequence[str]) -> dict[str, StudentName]:
    """Return the names of these students, by id."""
    query = _named().where(Student.id.in_(ids))
    return {row.id: StudentName(*row) for row in session.execute(query)}


def newest_students(session: Session, limit: int) -> list[StudentName]:
    """Return the newest students by name."""
    query = _named().order_by(Student.id.desc()).limit(limit)
    return [StudentName(*row) for row in session.execute(query)]


def _named() -> Select[str, str, str, datetime]:
    query = select(Student.id, Teacher.name, Student.rule, Student.created_at)
    return query.join(Teacher, Teacher.id == Student.teacher_id)
