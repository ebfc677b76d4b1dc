"""Rows and bytes that each kind of job leaves in the database, indices included.

Jobs of each kind run for real, on chips behind nothing but the simulator. Each table's rows are
then copied many times, with ids of their own, into a table of the same indices: what that takes on
disk, divided by the copies, is what one row takes where there are many.
"""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from sqlalchemy import Connection, select, text

from benchmarks.fleet.local_fleet import LocalFleet, local_fleet
from benchmarks.fleet.processes import Host
from benchmarks.job_latency import DIGITS, Workload, golden_student
from ltl_core.settings import Budget, CalibrationSettings
from service.client.sdk import Tandemcal
from service.db.tables import Job

SETTINGS = {"TANDEMCAL_SIMULATED_SECONDS_PER_SECOND": "60"}
# Each table with the condition that picks the rows of the jobs :ids.
TABLES: Mapping[str, str] = {
    "public.jobs": "id = ANY(:ids)",
    "public.events": "job_id = ANY(:ids)",
    "public.weight_versions": "job_id = ANY(:ids)",
    "public.fingerprints": "job_id = ANY(:ids)",
    "public.idempotency_keys": "resource_id = ANY(:ids)",
    "dbos.workflow_status": "split_part(workflow_uuid, '.', 1) = ANY(:ids)",
}


class Extent(NamedTuple):
    """How much is measured."""

    copies: int  # rows in each copied table
    jobs: int  # of each kind
    samples: int  # of each calibration
    workload: Workload = DIGITS


FULL, QUICK = Extent(20_000, 2, 4000), Extent(500, 1, 640)


class Stored(NamedTuple):
    """Rows and bytes of one table that jobs of one kind left."""

    rows: float  # a job
    bytes_a_row: float

    @property
    def bytes_a_job(self) -> float:
        return self.rows * self.bytes_a_row


def measure(console: Console, extent: Extent, host: Host) -> dict[str, Any]:
    """Run one job of each kind, copy its rows many times, and measure the tables."""
    with tempfile.TemporaryDirectory() as name, local_fleet(host, Path(name), **SETTINGS) as fleet:
        api = fleet.api()
        fleet.worker("first")
        with Tandemcal(api.url, api.key) as client:
            _run(client, extent)
        kinds = ("calibrate", "probe", "evaluate")
        found = {kind: _weigh(fleet, kind, extent.copies) for kind in kinds}
        artifacts = sum(path.stat().st_size for path in fleet.settings.artifacts_dir.rglob("*"))
    _show(console, found)
    return {
        "kinds": {kind: _report(tables) for kind, tables in found.items()},
        "artifact_bytes": artifacts,
    }


def _run(client: Tandemcal, extent: Extent) -> None:
    student = golden_student(client, extent.workload)
    settings = CalibrationSettings(budget=Budget(samples=extent.samples), target_points=None)
    for number in range(extent.jobs):
        chip = client.chips.register(f"chip-{number}", preset="harsh", seed=number).id
        client.jobs.wait(client.jobs.calibrate(chip, student, settings).id)
        client.jobs.wait(client.jobs.probe(chip).id)
        client.jobs.wait(client.jobs.evaluate(chip, student).id)


def _weigh(fleet: LocalFleet, kind: str, copies: int) -> dict[str, Stored]:
    """Measure each table in which jobs of this kind left rows."""
    with fleet.database.reading() as session:
        ids = list(session.scalars(select(Job.id).where(Job.kind == kind)))
    with fleet.database.engine.connect() as connection:
        found = {
            table: Stored(rows / len(ids), _bytes(connection, table, ids, copies))
            for table in TABLES
            if (rows := _rows(connection, table, ids))
        }
        connection.rollback()
    return found


def _rows(connection: Connection, table: str, ids: Sequence[str]) -> int:
    count = text(f"SELECT count(*) FROM {table} WHERE {TABLES[table]}")
    return int(connection.execute(count, {"ids": ids}).scalar_one())


def _bytes(connection: Connection, table: str, ids: Sequence[str], copies: int) -> float:
    """Bytes of one row, measured over many."""
    connection.execute(text(f"CREATE TABLE weighed (LIKE {table} INCLUDING ALL)"))
    columns = connection.execute(text(_COLUMNS), {"table": table}).scalars().all()
    values = ", ".join(_OWN.get(f"{table}.{name}", f'"{name}"') for name in columns)
    names = ", ".join(f'"{name}"' for name in columns)
    made = connection.execute(
        text(
            f"INSERT INTO weighed ({names}) SELECT {values} FROM (SELECT * FROM {table} "
            f"WHERE {TABLES[table]}) AS kept CROSS JOIN generate_series(1, :copies) AS n"
        ),
        {"ids": ids, "copies": max(1, copies // _rows(connection, table, ids))},
    ).rowcount
    size = connection.execute(text("SELECT pg_total_relation_size('weighed')")).scalar_one()
    connection.execute(text("DROP TABLE weighed"))
    return float(size) / made


def _show(console: Console, found: Mapping[str, dict[str, Stored]]) -> None:
    for kind, tables in found.items():
        total = sum(one.bytes_a_job for one in tables.values())
        console.print(f"One {kind} job leaves {total / 1000:.1f} kB")
        for table, one in tables.items():
            console.print(f"  {table:24s} {one.rows:6.1f} rows of {one.bytes_a_row:7.0f} bytes")


def _report(tables: dict[str, Stored]) -> dict[str, Any]:
    return {
        "tables": {name: one._asdict() for name, one in tables.items()},
        "rows": sum(one.rows for one in tables.values()),
        "bytes": sum(one.bytes_a_job for one in tables.values()),
    }


_COLUMNS = """
SELECT attname FROM pg_attribute
WHERE attrelid = CAST(:table AS regclass) AND attnum > 0 AND NOT attisdropped
ORDER BY attnum
"""

_NEW = "uuidv7()::text"
_OWN = {  # what has to be its row's own
    "public.jobs.id": _NEW,
    "public.events.seq": "nextval('public.events_seq_seq')",
    "public.events.subject": _NEW,
    "public.weight_versions.id": _NEW,
    "public.weight_versions.chip_id": _NEW,
    "public.weight_versions.job_id": _NEW,
    "public.fingerprints.id": _NEW,
    "public.fingerprints.job_id": _NEW,
    "public.idempotency_keys.key": _NEW,
    "dbos.workflow_status.workflow_uuid": _NEW,
}
