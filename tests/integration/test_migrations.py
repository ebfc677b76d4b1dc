"""The migrations are the schema: the tables in the code only describe it."""

from pathlib import Path

from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Column, Integer, MetaData, inspect

from service.db.migrate import downgrade, is_current, upgrade
from service.db.session import make_engine
from service.db.tables import Base


def differences(url: str, metadata: MetaData) -> list[object]:
    engine = make_engine(url)
    try:
        with engine.connect() as connection:
            context = MigrationContext.configure(connection, opts={"compare_type": True})
            return list(compare_metadata(context, metadata))
    finally:
        engine.dispose()


def test_migrations_make_the_tables(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'migrated.sqlite'}"
    upgrade(url)
    assert differences(url, Base.metadata) == []


def test_a_forgotten_column_would_be_seen(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'migrated.sqlite'}"
    upgrade(url)
    newer = MetaData()
    for table in Base.metadata.sorted_tables:
        table.to_metadata(newer)
    newer.tables["chips"].append_column(Column("forgotten", Integer))
    assert len(differences(url, newer)) == 1


def test_migrations_go_down_and_up_again(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'migrated.sqlite'}"
    upgrade(url)
    downgrade(url, "base")
    engine = make_engine(url)
    assert inspect(engine).get_table_names() == ["alembic_version"]
    upgrade(url)
    upgrade(url)  # nothing is missing any more
    assert is_current(engine)
    engine.dispose()
