"""Alembic's entry: the connection is handed over by `service.db.migrate`."""

from alembic import context

from service.db import agent_tables
from service.db.tables import Base

assert agent_tables.Agent.metadata is Base.metadata  # every module of tables is loaded
context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    render_as_batch=True,  # SQLite changes a table by copying it
    compare_type=True,
)
with context.begin_transaction():
    context.run_migrations()
