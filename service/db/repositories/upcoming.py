"""What the planner does next: chips in the order in which their policies make them due."""

from typing import Any, NamedTuple

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from service.db.isolation import readable_rows
from service.db.tables import Chip
from service.db.upkeep_tables import Policy


class DueChip(NamedTuple):
    """A chip and its policy; None for a policy that cannot be read."""

    chip_id: str
    chip: str  # its name
    policy: Policy | None


class UpcomingRepository:
    """Reads which chips are due next."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def count(self) -> int:
        """Return how many chips are due at some time."""
        query = select(func.count()).select_from(Policy).where(Policy.due_at.is_not(None))
        return self._session.scalar(query) or 0

    def next_due(self, limit: int, skip: int = 0) -> list[DueChip]:
        """Return the chips that are due next, by the index of due times."""
        ids = self._session.scalars(
            select(Policy.chip_id)
            .where(Policy.due_at.is_not(None))
            .order_by(Policy.due_at, Policy.chip_id)
            .limit(limit)
            .offset(skip)
        ).all()
        query = select(Policy).where(Policy.chip_id.in_(ids))
        rows: list[Any] = readable_rows(self._session, query, Policy.chip_id).rows
        policies = {row[0].chip_id: row[0] for row in rows}
        named = select(Chip.id, Chip.name).where(Chip.id.in_(ids))
        names = {row.id: row.name for row in self._session.execute(named)}
        return [DueChip(id, names.get(id, ""), policies.get(id)) for id in ids]
