"""Brings a database to the newest schema. Two processes that start at once wait for each other."""

from collections.abc import Callable
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
    """Apply what is missing."""
    _run(url, command.upgrade, revision)


def downgrade(url: str, revision: str) -> None:
    """Go back to a revision; `base` is the empty database."""
    _run(url, command.downgrade, revision)


def is_current(engine: Engine) -> bool:
    """Has every migration been applied?"""
    with engine.connect() as connection:
        applied = MigrationContext.configure(connection).get_current_heads()
    return set(applied) == set(ScriptDirectory.from_config(alembic_config()).get_heads())


def alembic_config() -> Config:
    """Alembic's configuration, made here: there is no alembic.ini to lose."""
    config = Config()
    config.set_main_option("script_location", str(_migrations()).replace("%", "%%"))
    return config


def _run(url: str, alembic_command: Callable[[Config, str], None], revision: str) -> None:
    engine = make_engine(url)
    config = alembic_config()
    try:
        with engine.begin() as connection:
            if engine.dialect.name == "postgresql":
                connection.execute(text("SET LOCAL lock_timeout = 0"))  # however long it takes
            locks.hold(connection, locks.MIGRATIONS)
            config.attributes["connection"] = connection
            alembic_command(config, revision)
    finally:
        engine.dispose()


def _migrations() -> Path:
    """Inside the package where it was installed, beside it in a checkout."""
    package = Path(service.db.__file__).parent
    installed = package / "migrations"
    return installed if installed.is_dir() else package.parents[1] / "migrations"
