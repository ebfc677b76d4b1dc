"""What uses teachers and students: target sets, other students, chips, jobs."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from service.db.isolation import readable_rows
from service.db.repositories.paging import PageRequest, RowPage, fetch_page
from service.db.repositories.versions import in_force
from service.db.tables import Chip, Job, Student, TargetSet, Teacher, WeightVersion
from service.states import ChipHealth, TargetSetState

_STUDENTS_COMPARED = 1000  # newest of a teacher, of which the best of each rule is looked for


class ChipInUse(NamedTuple):
    """A chip whose version in force is of one student."""

    id: str
    name: str
    health: str
    version: int
    accuracy: Any  # golden, before, after
    published_at: datetime


class UsageRepository:
    """Counts and lists what refers to teachers and students."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def teacher_names(self, teacher_ids: Sequence[str]) -> dict[str, str]:
        """Return the names of these teachers by id."""
        query = select(Teacher.id, Teacher.name).where(Teacher.id.in_(teacher_ids))
        return {row.id: row.name for row in self._session.execute(query)}

    def ready_sets(self, teacher_ids: Sequence[str]) -> dict[str, int]:
        """Return how many target sets of each teacher are ready; 0 where it is absent."""
        ready = TargetSet.state == TargetSetState.READY
        return self._counted(TargetSet.teacher_id, teacher_ids, ready)

    def students(self, teacher_ids: Sequence[str]) -> dict[str, int]:
        """Return how many students each teacher has; 0 where it is absent."""
        return self._counted(Student.teacher_id, teacher_ids)

    def accuracies(self, teacher_id: str) -> list[tuple[str, Any]]:
        """Return rule and accuracy of the newest students of a teacher."""
        query = select(Student.rule, Student.accuracy).where(Student.teacher_id == teacher_id)
        query = query.order_by(Student.id.desc()).limit(_STUDENTS_COMPARED)
        rows = readable_rows(self._session, query, Student.id).rows
        return [(row.rule, row.accuracy) for row in rows]

    def results(self, job_ids: Sequence[str]) -> dict[str, tuple[Any, Any]]:
        """Return request and result of these jobs by id, without those that cannot be read."""
        query = select(Job.id, Job.request, Job.result).where(Job.id.in_(job_ids))
        rows = readable_rows(self._session, query, Job.id).rows
        return {row.id: (row.request, row.result) for row in rows}

    def chips(self, student_ids: Sequence[str]) -> dict[str, int]:
        """Return on how many chips a version of each student is in force; 0 where it is absent."""
        query = (
            select(WeightVersion.student_id, func.count())
            .join(Chip, in_force())
            .where(WeightVersion.student_id.in_(student_ids), Chip.health != ChipHealth.RETIRED)
            .group_by(WeightVersion.student_id)
        )
        return {row[0]: row[1] for row in self._session.execute(query)}

    def chips_with(self, student_id: str, limit: int, skip: int = 0) -> list[ChipInUse]:
        """Return the chips on which a version of this student is in force, by name."""
        query = (
            select(WeightVersion.id)
            .join(Chip, in_force())
            .where(WeightVersion.student_id == student_id, Chip.health != ChipHealth.RETIRED)
            .order_by(Chip.name)
            .limit(limit)
            .offset(skip)
        )
        ids = self._session.scalars(query).all()
        shown = (
            select(
                Chip.id,
                Chip.name,
                Chip.health,
                WeightVersion.version,
                WeightVersion.accuracy,
                WeightVersion.created_at,
            )
            .join(Chip, in_force())
            .where(WeightVersion.id.in_(ids))
            .order_by(Chip.name)
        )
        return [
            ChipInUse(*row) for row in readable_rows(self._session, shown, WeightVersion.id).rows
        ]

    def jobs(self, student_id: str, page: PageRequest) -> RowPage[Job]:
        """Return one page of the jobs of a student."""
        query = select(Job).where(Job.student_id == student_id)
        return fetch_page(self._session, query, Job.id, page)

    def _counted(
        self,
        owner: InstrumentedAttribute[str],
        owner_ids: Sequence[str],
        *conditions: ColumnElement[bool],
    ) -> dict[str, int]:
        query = select(owner, func.count()).where(owner.in_(owner_ids), *conditions).group_by(owner)
        return {row[0]: row[1] for row in self._session.execute(query)}
