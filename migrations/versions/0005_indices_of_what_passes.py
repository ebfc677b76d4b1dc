"""Partial indices of rows that are deleted after a time, so that finding them is cheap."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0005"
down_revision: str | None = "0004"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None

_LEFT = sa.text("checkpoint_sha256 IS NOT NULL")
_PLANNED = sa.text("route = 'planner'")


def upgrade() -> None:
    op.create_index(
        op.f("ix_jobs_left_checkpoints"),
        "jobs",
        ["ended_at"],
        postgresql_where=_LEFT,
        sqlite_where=_LEFT,
    )
    op.create_index(
        op.f("ix_idempotency_keys_planned"),
        "idempotency_keys",
        ["created_at"],
        postgresql_where=_PLANNED,
        sqlite_where=_PLANNED,
    )


def downgrade() -> None:
    op.drop_index(op.f("ix_idempotency_keys_planned"), table_name="idempotency_keys")
    op.drop_index(op.f("ix_jobs_left_checkpoints"), table_name="jobs")
