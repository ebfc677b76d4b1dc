"""Indices for summaries of a large fleet that do not read all chips and jobs."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0007"
down_revision: str | None = "0006"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None

_OPEN = "status IN ('queued', 'waiting_for_chip', 'running', 'cancelling')"
_WAITS = "status IN ('queued', 'waiting_for_chip')"
# Name, table, columns, and the condition on rows.
_PARTIAL = (
    ("ix_jobs_open", "jobs", ["chip_id", "kind"], _OPEN),
    ("ix_jobs_called", "jobs", ["chip_id", "key_id"], f"{_OPEN} AND called_at IS NOT NULL"),
    ("ix_jobs_nobodys", "jobs", ["kind"], f"{_OPEN} AND key_id IS NULL"),
    ("ix_jobs_deadline", "jobs", ["queue_deadline"], f"{_WAITS} AND queue_deadline IS NOT NULL"),
    (
        "ix_jobs_calibrated",
        "jobs",
        ["chip_id", "id"],
        "kind = 'calibrate' AND status = 'succeeded'",
    ),
    ("ix_chip_leases_held", "chip_leases", ["chip_id"], "holder IS NOT NULL"),
)


def upgrade() -> None:
    op.create_index(op.f("ix_chips_health"), "chips", ["health"])
    for name, table, columns, rows in _PARTIAL:
        where = sa.text(rows)
        op.create_index(op.f(name), table, columns, postgresql_where=where, sqlite_where=where)


def downgrade() -> None:
    for name, table, _, _ in _PARTIAL:
        op.drop_index(op.f(name), table_name=table)
    op.drop_index(op.f("ix_chips_health"), table_name="chips")
