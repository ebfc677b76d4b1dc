"""Cost of reading a large fleet: 10,000 chips, a million jobs, 10,000 of them waiting.

Each question is put through the service's own repositories; the statements that they send are then
explained and timed in the database. The time of a question is that of all its statements together:
the median of several rounds, planning included, as EXPLAIN (ANALYZE, BUFFERS) tells it.
"""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, NamedTuple

from rich.console import Console
from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from benchmarks.fleet.plans import Ask, Explained, explained
from benchmarks.fleet.population import Size, populate
from benchmarks.fleet.processes import Host
from service.db.migrate import upgrade
from service.db.repositories.chips import ChipFilter, ChipRepository
from service.db.repositories.deadlines import DeadlineRepository
from service.db.repositories.dispatches import DispatchRepository
from service.db.repositories.job_conditions import JobFilter
from service.db.repositories.jobs import JobRepository
from service.db.repositories.overview import OverviewRepository
from service.db.repositories.paging import PageRequest
from service.db.repositories.policies import PolicyRepository
from service.db.repositories.queue_estimate import QueueEstimateRepository
from service.db.session import Database, clock
from service.db.tables import Job
from service.jobs.kinds.registry import KINDS
from service.states import WAITING
from service.web.fleet.page import FleetQuery, read_fleet
from tests.postgres import as_text

LIMIT = 20.0  # ms in the database
HELD = ("job by id", "newest jobs of a chip", "due chips", "fleet summary")  # to the limit
_AT_ONCE = 50  # chips that the planner takes at a time
_TOGETHER = 16  # jobs whose status is asked for at the same moment
_SILENCE = timedelta(seconds=15)


class Extent(NamedTuple):
    """How much is measured."""

    size: Size
    rounds: int


FULL = Extent(Size(10_000, 1_000_000, 10_000, 40), 9)
QUICK = Extent(Size(100, 5_000, 20, 4), 2)


class Sample(NamedTuple):
    """Ids of the rows that are read."""

    job: str
    chip: str
    busiest: str  # the chip with the most jobs


def measure(console: Console, extent: Extent, host: Host) -> dict[str, Any]:
    """Fill the tables, read from them, and report times and plans."""
    with _large_fleet(extent.size, console, host) as (database, filled):
        asked = {
            name: explained(database, ask, extent.rounds)
            for name, ask in questions(sample(database)).items()
        }
        sizes = _sizes(database)
    found = judged(asked)
    for name, report in found["questions"].items():
        console.print(
            f"  {name:34s} {report['milliseconds']:7.2f} ms "
            f"(fastest {report['fastest_milliseconds']:.2f}, "
            f"first {report['first_milliseconds']:.2f})"
            f"  {len(report['statements'])} statements, {report['pages']} pages"
        )
    return found | {"sizes": sizes, "filled_s": filled}


def judged(asked: Mapping[str, list[Explained]]) -> dict[str, Any]:
    """Put each time beside its limit."""
    found = {name: _told(statements) for name, statements in asked.items()}
    missed = [name for name in found if name in HELD and found[name]["milliseconds"] > LIMIT]
    return {
        "questions": found,
        "limit_ms": LIMIT,
        "passed": not missed,
        "missed": [f"'{name}' takes more than {LIMIT:.0f} ms" for name in missed],
    }


def show_plans(console: Console, found: dict[str, Any]) -> None:
    """Print the nodes of every statement, with the rows that each found."""
    for question, report in found["questions"].items():
        console.print(f"\n{question}: {report['milliseconds']:.2f} ms")
        for statement in report["statements"]:
            console.print(f"  {' '.join(statement['sql'].split())[:150]}", markup=False)
            for line in statement["outline"].splitlines():
                console.print(f"    {line}", markup=False)


def questions(sample: Sample) -> Mapping[str, Ask]:
    """List what is read: by routes, pages, the planner and the engine."""
    return {
        "job by id": lambda session: JobRepository(session).get(sample.job),
        "newest jobs of a chip": _newest(sample.chip),
        "newest jobs of the busiest chip": _newest(sample.busiest),
        "newest jobs": lambda session: JobRepository(session).list(JobFilter(), PageRequest()),
        "places and starts of waiting jobs": _waiting,
        "due chips": _due,
        "fleet summary": _summary,
        "fleet page, 200 chips": lambda s: read_fleet(s, FleetQuery(), KINDS, clock(s)),
        "is there a job to call": lambda s: DispatchRepository(s, _SILENCE).any_waiting(clock(s)),
        "which jobs are next": _next,
        "jobs past their deadline": lambda s: DeadlineRepository(s).any_late(clock(s)),
    }


def _newest(chip: str) -> Ask:
    return lambda session: JobRepository(session).list(JobFilter(chip_id=chip), PageRequest())


def _waiting(session: Session) -> None:
    """Read what the status of a waiting job tells, of as many as come together."""
    waiting = select(Job).where(Job.status.in_(WAITING)).order_by(Job.id.desc()).limit(_TOGETHER)
    QueueEstimateRepository(session).of(session.scalars(waiting).all(), clock(session))


def _due(session: Session) -> None:
    """Read what the planner reads."""
    policies, now = PolicyRepository(session), clock(session)
    policies.any_due(now)
    due_chips = policies.due_chips(now)
    policies.put_off(due_chips.blocked, now + timedelta(seconds=60))
    policies.in_flight()
    policies.claim(due_chips.drivable, _AT_ONCE)


def _next(session: Session) -> None:
    """Read which jobs come next; the update of each is one by its id and is not timed."""
    DispatchRepository(session, _SILENCE).next_in_order(clock(session))


def _summary(session: Session) -> None:
    """Read what the headline of the fleet page counts."""
    overview = OverviewRepository(session)
    overview.all_chips()
    overview.open_jobs()


@contextmanager
def _large_fleet(size: Size, console: Console, host: Host) -> Iterator[tuple[Database, float]]:
    """Make the large fleet; also the seconds that it took."""
    with host.server() as server:
        url = server.create()
        database = Database(as_text(url))
        upgrade(database.url)
        began = time.monotonic()
        with database.engine.connect() as connection:
            populate(connection, size)
        took = time.monotonic() - began
        console.print(f"{size.chips} chips and {size.jobs} jobs, filled in {took:.0f} s")
        try:
            yield database, took
        finally:
            database.close()
            server.drop(url)


def sample(database: Database) -> Sample:
    """Pick a job in the middle, its chip, and the chip with the most jobs."""
    with database.reading() as session:
        chips = (
            ChipRepository(session)
            .list(ChipFilter(), PageRequest(limit=1, oldest_first=True))
            .rows[0]
        )
        crowd = select(Job.chip_id, func.count().label("jobs")).where(Job.chip_id.is_not(None))
        crowd = crowd.group_by(Job.chip_id).order_by(func.count().desc()).limit(1)
        busiest = session.execute(crowd).one().chip_id
        middle = select(Job).where(Job.chip_id.is_not(None)).order_by(Job.id)
        total = session.scalar(select(func.count()).select_from(Job)) or 0
        job = session.scalars(middle.offset(total // 2).limit(1)).one()
        assert chips
        return Sample(job.id, str(job.chip_id), str(busiest))


def _sizes(database: Database) -> dict[str, dict[str, float]]:
    """Rows and bytes of each table, its indices and long values included."""
    query = text(
        "SELECT relname, reltuples, pg_total_relation_size(oid) FROM pg_class "
        "WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace AND reltuples > 0"
    )
    with database.reading() as session:
        return {
            name: {"rows": rows, "bytes": size, "bytes_a_row": size / rows}
            for name, rows, size in session.execute(query)
        }


def _told(statements: list[Explained]) -> dict[str, Any]:
    return {
        "milliseconds": sum(one.milliseconds for one in statements),
        "fastest_milliseconds": sum(one.fastest_milliseconds for one in statements),
        "first_milliseconds": sum(one.first_milliseconds for one in statements),
        "pages": sum(one.buffers for one in statements),
        "statements": [
            {
                "sql": one.sql,
                "milliseconds": one.milliseconds,
                "fastest_milliseconds": one.fastest_milliseconds,
                "first_milliseconds": one.first_milliseconds,
                "outline": one.outline,
                "plan": one.plan,
            }
            for one in statements
        ],
    }
