"""The migrations are the schema: the tables in the code only describe it."""

import threading
from datetime import UTC, datetime
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Column, Integer, MetaData, Table, inspect, select

from service.db.migrate import alembic_config, downgrade, is_current, upgrade
from service.db.schema import metadata
from service.db.session import make_engine

pytestmark = pytest.mark.both_databases


def differences(url: str, metadata: MetaData) -> list[object]:
    engine = make_engine(url)
    try:
        with engine.connect() as connection:
            options = {"compare_type": True, "compare_server_default": True}
            context = MigrationContext.configure(connection, opts=options)
            return list(compare_metadata(context, metadata))
    finally:
        engine.dispose()


def test_migrations_make_the_tables(empty_database: str) -> None:
    upgrade(empty_database)
    assert differences(empty_database, metadata()) == []


def test_a_forgotten_column_would_be_seen(empty_database: str) -> None:
    upgrade(empty_database)
    newer = MetaData()
    for table in metadata().sorted_tables:
        table.to_metadata(newer)
    newer.tables["chips"].append_column(Column("forgotten", Integer))
    assert len(differences(empty_database, newer)) == 1


def test_migrations_go_down_and_up_again(empty_database: str) -> None:
    upgrade(empty_database)
    downgrade(empty_database, "base")
    engine = make_engine(empty_database)
    assert inspect(engine).get_table_names() == ["alembic_version"]
    upgrade(empty_database)
    upgrade(empty_database)  # nothing is missing any more
    assert is_current(engine)
    engine.dispose()


def columns(url: str) -> dict[tuple[str, str], bool]:
    """Whether a row can be written by whoever does not know of the column."""
    engine = make_engine(url)
    found = inspect(engine)
    known = {
        (table, column["name"]): column["nullable"] or column["default"] is not None
        for table in found.get_table_names()
        for column in found.get_columns(table)
    }
    engine.dispose()
    return known


def test_processes_of_a_release_before_go_on_with_the_new_schema(empty_database: str) -> None:
    """Each migration only adds, and nothing that a row must have."""
    revisions = ScriptDirectory.from_config(alembic_config()).walk_revisions()
    first, *later = [script.revision for script in revisions][::-1]
    upgrade(empty_database, first)
    before = columns(empty_database)
    for revision in later:
        upgrade(empty_database, revision)
        after = columns(empty_database)
        tables = {table for table, _ in before}
        assert set(before) <= set(after), revision
        new = {name for name in set(after) - set(before) if name[0] in tables}
        assert all(after[name] for name in new), revision
        before = after


TIME = datetime(2026, 1, 1, tzinfo=UTC)
BEFORE_RESETS = "0007"
REQUESTS: dict[str, Any] = {
    "subtracts": {"settings": {"neuron": {"reset": "subtract", "decay": 1.0}}},
    "zero": {"settings": {"neuron": {"reset": "zero"}}},
    "older": {"settings": {}},
}


def reflected(url: str) -> dict[str, Table]:
    """The tables as the database has them, whatever the code of today knows."""
    engine, found = make_engine(url), MetaData()
    found.reflect(engine)
    engine.dispose()
    return {table.name: table for table in found.sorted_tables}


def add_students(url: str) -> None:
    """A teacher, its targets, and a student of each request, in a database of before."""
    tables, engine = reflected(url), make_engine(url)
    sets = {"name": "s", "teacher_id": "t", "state": "ready", "chunks": 1, "percentile": 99.0}
    with engine.begin() as connection:

        def add(table: str, **values: Any) -> None:
            connection.execute(tables[table].insert().values(created_at=TIME, **values))

        add("teachers", id="t", name="t", network={}, weights_sha256="0")
        add("target_sets", id="s", **sets)
        for name, request in REQUESTS.items():
            asked = {"kind": "train", "status": "succeeded", "request": request, "priority": 5}
            add("jobs", id=name, attempt=1, code_version="1", **asked)
            made = {"teacher_id": "t", "target_set_id": "s", "job_id": name, "rule": "tandem"}
            add("students", id=name, accuracy={}, sha256="0", **made)
    engine.dispose()


def test_students_of_before_get_the_reset_of_the_request_that_trained_them(
    empty_database: str,
) -> None:
    upgrade(empty_database, BEFORE_RESETS)
    add_students(empty_database)
    for _ in range(2):
        upgrade(empty_database)
        students, engine = reflected(empty_database)["students"], make_engine(empty_database)
        with engine.connect() as connection:
            rows = connection.execute(select(students.c.id, students.c.reset)).all()
        engine.dispose()
        assert {row.id: row.reset for row in rows} == {
            "subtracts": "subtract",
            "zero": "zero",
            "older": "zero",
        }
        downgrade(empty_database, BEFORE_RESETS)


BEFORE_BARE_TEACHERS = "0018"


def teachers(url: str) -> dict[str, str | None]:
    """Digests of the weights, by teacher."""
    table, engine = reflected(url)["teachers"], make_engine(url)
    with engine.connect() as connection:
        found = {row.id: row.weights_sha256 for row in connection.execute(select(table))}
    engine.dispose()
    return found


def test_teachers_without_weights_survive_the_way_back(empty_database: str) -> None:
    """Also where target sets refer to them."""
    upgrade(empty_database, BEFORE_RESETS)
    add_students(empty_database)
    upgrade(empty_database)
    table, engine = reflected(empty_database)["teachers"], make_engine(empty_database)
    with engine.begin() as connection:
        bare: dict[str, Any] = {
            "id": "b",
            "name": "b",
            "network": {},
            "weights_sha256": None,
            "created_at": TIME,
        }
        connection.execute(table.insert().values(bare))
    engine.dispose()
    downgrade(empty_database, BEFORE_BARE_TEACHERS)
    assert teachers(empty_database) == {"t": "0", "b": 64 * "0"}
    assert not columns(empty_database)["teachers", "network"]
    upgrade(empty_database)
    assert teachers(empty_database) == {"t": "0", "b": None}
    assert differences(empty_database, metadata()) == []


def test_processes_that_start_at_once_migrate_once(empty_database: str) -> None:
    errors: list[BaseException] = []

    def start() -> None:
        try:
            upgrade(empty_database)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=start) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert differences(empty_database, metadata()) == []
