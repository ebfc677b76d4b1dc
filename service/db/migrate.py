"""Migrations. Processes that start at the same time migrate one after the other."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, text

import service.db
from service.db import locks
from service.db.session import make_engine


def upgrade(url: str, revision: str = "head") -> None:
    """Apply the migrations that are missing, up to `revision`."""
    _run(url, command.upgrade, revision)


def downgrade(url: str, revision: str) -> None:
    """Revert to an earlier revision; `base` is the empty database."""
    _run(url, command.downgrade, revision)


def is_current(engine: Engine) -> bool:
    """Return whether every migration has been applied."""
    with engine.execution_options(reads_only=True).connect() as connection:
        applied = MigrationContext.configure(connection).get_current_heads()
    return frozenset(applied) == _heads()


@cache
def _heads() -> frozenset[str]:
    """Return the newest revisions of this installation; they do not change while it runs."""
    return frozenset(ScriptDirectory.from_config(alembic_config()).get_heads())


def alembic_config() -> Config:
    """Return the configuration of Alembic, which is kept in code instead of alembic.ini."""
    config = Config()
    config.set_main_option("script_location", str(_migrations()).replace("%", "%%"))
    return config


def _run(url: str, alembic_command: Callable[[Config, str], None], revision: str) -> None:
    engine = make_engine(url)
    config = alembic_config()
    try:
        with engine.begin() as connection:
            if engine.dialect.name == "postgresql":
                connection.execute(
                    text("SET LOCAL lock_timeout = 0")
                )  # wait for another migration however long it takes
            locks.hold(connection, locks.MIGRATIONS)
            config.attributes["connection"] = connection
            alembic_command(config, revision)
    finally:
        engine.dispose()


def _migrations() -> Path:
    """Return the folder of migrations: in an installed package, or beside it in a checkout."""
    package = Path(service.db.__file__).parent
    installed = package / "migrations"
    return installed if installed.is_dir() else package.parents[1] / "migrations"
