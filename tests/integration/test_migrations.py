"""The migrations are the schema: the tables in the code only describe it."""

import threading

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Column, Integer, MetaData, inspect

from service.db.migrate import downgrade, is_current, upgrade
from service.db.session import make_engine
from service.db.tables import Base

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
    assert differences(empty_database, Base.metadata) == []


def test_a_forgotten_column_would_be_seen(empty_database: str) -> None:
    upgrade(empty_database)
    newer = MetaData()
    for table in Base.metadata.sorted_tables:
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
    assert differences(empty_database, Base.metadata) == []
