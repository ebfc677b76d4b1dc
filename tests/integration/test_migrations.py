"""The migrations are the schema: the tables in the code only describe it."""

import threading

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Column, Integer, MetaData, inspect

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
