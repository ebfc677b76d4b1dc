"""The whole schema: the tables of every module."""

from sqlalchemy import MetaData

from service.db import (
    access_tables,
    agent_tables,
    audit_tables,
    executor_tables,
    tables,
    upkeep_tables,
    webhook_tables,
)
from service.db.base import Base

_MODULES = (  # loading them registers the tables
    tables,
    access_tables,
    agent_tables,
    audit_tables,
    executor_tables,
    upkeep_tables,
    webhook_tables,
)


def metadata() -> MetaData:
    """Return the metadata of every table."""
    assert _MODULES  # nosec B101 # they are loaded above; this says what for
    return Base.metadata
