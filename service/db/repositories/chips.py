"""Chips: registered, renamed, retired; their health and their leases."""

import json
import math
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Text, cast, select, update
from sqlalchemy.orm import Session

from service.db.base import Json
from service.db.isolation import ReadableRows, readable_rows
from service.db.repositories.events import EventRepository, Subject
from service.db.repositories.paging import PageRequest, RowPage, fetch_page
from service.db.repositories.rows import load_row
from service.db.repositories.sorted_lists import Sort, by_text, fetch_sorted
from service.db.tables import Chip, ChipLease
from service.errors import ChipNotFoundError, ChipRetiredError, NameTakenError
from service.states import ChipHealth

_HEALTHS = (ChipHealth.GOOD, ChipHealth.UNKNOWN, ChipHealth.DRIFTING, ChipHealth.BAD)


def _by_health(health: Any) -> float | None:
    """Sort by health, the good ones first; a retired chip has none."""
    return float(_HEALTHS.index(health)) if health in _HEALTHS else None


def _by_points(text: Any) -> float | None:
    """Sort by predicted loss; the text need not be the JSON that it should be."""
    try:
        points = float(json.loads(text)["points"])
    except (ValueError, TypeError, KeyError):
        return None
    return points if math.isfinite(points) else None


_SORTS = {
    "name": Sort(Chip.name, by_text),
    "health": Sort(Chip.health, _by_health),
    "predicted_loss": Sort(cast(Chip.predicted_loss, Text), _by_points),
}
_HELD = "chips that this unit holds"


class ChipFilter(NamedTuple):
    """Which chips to list; None means any."""

    health: ChipHealth | None = None
    backend: str | None = None
    name: str | None = None


class ChipRepository:
    """Stores chips and what was last measured of them."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def get(self, chip_id: str) -> Chip:
        """Return the chip. Raises ChipNotFoundError and RowDamagedError."""
        chip = load_row(self._session, Chip, chip_id, ChipNotFoundError.what)
        if chip is None:
            raise ChipNotFoundError(chip_id)
        return chip

    def lock(self, chip_id: str) -> Chip:
        """Return the chip and lock its row until this unit ends.

        Raises ChipNotFoundError and RowDamagedError.
        """
        chip = load_row(self._session, Chip, chip_id, ChipNotFoundError.what, lock=True)
        if chip is None:
            raise ChipNotFoundError(chip_id)
        return chip

    def get_usable(self, chip_id: str) -> Chip:
        """Return a chip that takes jobs, and keep it from being retired until this unit ends.

        Raises ChipNotFoundError, RowDamagedError and ChipRetiredError.
        """
        held: dict[str, Chip] = self._session.info.get(_HELD, {})
        chip = held.get(chip_id)
        if chip is None:
            one = select(Chip.id).where(Chip.id == chip_id)
            self._session.execute(one.with_for_update(read=True))
            chip = self.get(chip_id)
        if chip.retired_at is not None:
            raise ChipRetiredError(chip_id)
        return chip

    def hold(self, chip_ids: Collection[str]) -> Collection[str]:
        """Read chips for `get_usable`, and keep them from being changed until this unit ends.

        Return those that are held: not those that another unit is changing. No savepoint of this
        unit may be undone, for it would take the locks along.
        """
        query = select(Chip).where(Chip.id.in_(sorted(chip_ids))).order_by(Chip.id)
        found = self._session.scalars(query.with_for_update(read=True, skip_locked=True))
        held: dict[str, Chip] = self._session.info.setdefault(_HELD, {})
        held.update({chip.id: chip for chip in found})
        return held.keys()

    def list(self, wanted: ChipFilter, page: PageRequest) -> RowPage[Chip]:
        """Return one page of chips."""
        query = select(Chip)
        if wanted.health is not None:
            query = query.where(Chip.health == wanted.health)
        if wanted.backend is not None:
            query = query.where(Chip.backend == wanted.backend)
        if wanted.name is not None:
            query = query.where(Chip.name == wanted.name)
        if page.sort in _SORTS:
            return fetch_sorted(self._session, query, Chip.id, _SORTS[page.sort], page)
        return fetch_page(self._session, query, Chip.id, page)

    def some(self, chip_ids: Sequence[str]) -> ReadableRows[Any]:
        """Return the rows of these chips in any order, and the ids of those that are damaged."""
        return readable_rows(self._session, select(Chip).where(Chip.id.in_(chip_ids)), Chip.id)

    def add(self, chip: Chip) -> None:
        """Store a new chip, with a lease that is free. Raises NameTakenError."""
        self._refuse_taken(chip.name)
        self._session.add(chip)
        self._session.flush()
        self._session.add(ChipLease(chip_id=chip.id, token=0, expires_at=chip.created_at))
        self._emit(chip.id, "chip.registered", {"name": chip.name}, chip.created_at)

    def rename(self, chip_id: str, name: str) -> Chip:
        """Give the chip another name. Raises ChipNotFoundError and NameTakenError."""
        chip = self.get(chip_id)
        if chip.name != name:
            self._refuse_taken(name)
            chip.name = name
            self._session.flush()
        return chip

    def retire(self, chip_id: str, now: datetime) -> Chip:
        """Mark the chip as retired. Retiring it again changes nothing. Raises ChipNotFoundError."""
        chip = self.get(chip_id)
        if chip.retired_at is None:
            chip.retired_at, chip.health = now, ChipHealth.RETIRED
            self._emit(chip_id, "chip.retired", {"name": chip.name}, now)
        return chip

    def record_accuracy(self, chip_id: str, accuracy: float) -> None:
        """Store the accuracy of the last measurement."""
        self._session.execute(update(Chip).where(Chip.id == chip_id).values(accuracy=accuracy))

    def set_health(self, chip_id: str, health: ChipHealth, job_id: str, now: datetime) -> None:
        """Store the health that a job found, with an event if it changed.

        A retired chip stays retired.
        """
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
        payload = {"from": before, "to": health} | chip._asdict()
        EventRepository(self._session).append(
            Subject(job_id, chip_id), "chip.health_changed", "", payload, now
        )

    def leased(self, chip_ids: Sequence[str], now: datetime) -> dict[str, str | None]:
        """Return those of these chips that are leased now, each with the job that drives it."""
        query = select(ChipLease.chip_id, ChipLease.job_id).where(
            ChipLease.chip_id.in_(chip_ids),
            ChipLease.holder.is_not(None),
            ChipLease.expires_at >= now,
        )
        return {row.chip_id: row.job_id for row in self._session.execute(query)}

    def _refuse_taken(self, name: str) -> None:
        if self._session.scalar(select(Chip.id).where(Chip.name == name)) is not None:
            raise NameTakenError("chip", name)

    def _emit(self, chip_id: str, type: str, data: Json, now: datetime) -> None:
        EventRepository(self._session).append(Subject(chip_id=chip_id), type, "", data, now)
