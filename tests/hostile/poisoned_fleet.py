"""A fleet in which some rows of one table hold what cannot be read."""

from sqlalchemy import text
from structlog.testing import capture_logs

from service.db.base import Base
from tests.hostile.poison import poison_rows
from tests.integration.upkeep_lab import Fleet
from tests.world import World


class PoisonedFleet:
    """Good chips that are due for a calibration, and among them some whose rows hold poison."""

    def __init__(self, world: World, table: type[Base]) -> None:
        self.world, self.fleet = world, Fleet(world)
        rules = {"calibrate_every_s": 3600.0, "pause_s": 60.0}
        chips = [self.fleet.chip(name, **rules) for name in ("first", "template", "last")]
        self.fleet.pass_time(7200.0)
        self.good = [chips[0], chips[2]]
        self.poisons = poison_rows(world.context.database, table, chips[1])
        self.fleet.planner = self.fleet.another_planner(in_flight=10_000)

    def plan_for_all(self) -> set[str]:
        """The chips for which a job is queued after as many looks as the batches take."""
        with capture_logs():
            for _ in range(len(self.poisons) // 50 + 1):
                self.fleet.planner.plan()
        with self.world.context.database.reading() as session:
            query = text("SELECT chip_id FROM jobs WHERE status = 'queued'")
            return set(session.scalars(query))

    def notes(self) -> dict[str, str]:
        with self.world.context.database.reading() as session:
            rows = session.execute(text("SELECT chip_id, note FROM policies")).all()
        return {row.chip_id: row.note for row in rows if row.note}

    def poison(self, column: str, value: str) -> str:
        """The id of the row with this value in this column."""
        return next(p.id for p in self.poisons if (p.column, p.value) == (column, value))
