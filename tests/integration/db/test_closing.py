"""A database that is closed leaves no connection open, not even those that are in use."""

import pytest
from sqlalchemy import text

from service.db.session import Database
from service.settings import Settings

pytestmark = pytest.mark.both_databases


@pytest.mark.parametrize("closes_first", [True, False])
def test_a_connection_in_use_is_closed_when_it_comes_back(
    settings: Settings, *, closes_first: bool
) -> None:
    database = Database(settings.database)
    connection = database.engine.connect()
    driver = connection.connection.driver_connection
    assert driver is not None
    connection.execute(text("SELECT 1"))
    if closes_first:
        database.close()
    connection.close()
    assert is_open(driver) is not closes_first
    database.close()
    assert not is_open(driver)


def is_open(driver: object) -> bool:
    """Whether a connection of the driver of SQLite or PostgreSQL still answers."""
    try:
        driver.execute("SELECT 1")  # type: ignore[attr-defined]
    except Exception as error:
        return "closed" not in str(error)
    return True
