"""What the ids in the audit trail name: chips, keys, teachers, target sets, jobs, students."""

from collections.abc import Collection
from typing import NamedTuple

from sqlalchemy import select
from sqlalchemy.orm import Session

from service.db.access_tables import ApiKey
from service.db.agent_tables import Agent
from service.db.tables import Chip, Job, Student, TargetSet, Teacher


class Subject(NamedTuple):
    """What an id names."""

    kind: str  # chip, key, teacher, target set, job, student, agent
    id: str
    name: str  # of an agent: that of its chip; of a job and a student: empty


class SubjectRepository:
    """Finds out what ids name."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def of(self, ids: Collection[str]) -> dict[str, Subject]:
        """Return what these ids name; what was deleted is absent."""
        found: dict[str, Subject] = {}
        named = (("chip", Chip), ("key", ApiKey), ("teacher", Teacher), ("target set", TargetSet))
        for kind, table in named:
            query = select(table.id, table.name).where(table.id.in_(ids))
            found |= {row[0]: Subject(kind, *row) for row in self._session.execute(query)}
        for kind, made in (("student", Student), ("job", Job)):  # whose ids are the same
            one = select(made.id).where(made.id.in_(ids))
            found |= {id: Subject(kind, id, "") for id in self._session.scalars(one)}
        agents = select(Agent.id, Chip.name).join(Chip, Chip.id == Agent.chip_id)
        for row in self._session.execute(agents.where(Agent.id.in_(ids))):
            found[row[0]] = Subject("agent", *row)
        return found
