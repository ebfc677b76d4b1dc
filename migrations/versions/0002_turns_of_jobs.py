"""Dispatch of jobs: columns for their order, fair between API keys and chips."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0002"
down_revision: str | None = "0001"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None

_TIMES = ("not_before", "queue_deadline", "called_at", "held_until")


def upgrade() -> None:
    with op.batch_alter_table("jobs") as jobs:
        jobs.add_column(sa.Column("key_id", sa.String(length=36), nullable=True))
        jobs.add_column(sa.Column("turn", sa.Integer(), server_default="0", nullable=False))
        for name in _TIMES:
            jobs.add_column(sa.Column(name, sa.DateTime(timezone=True), nullable=True))
    with op.batch_alter_table("executors") as executors:
        executors.add_column(sa.Column("slots", sa.Integer(), server_default="0", nullable=False))
    op.create_table(
        "key_turns",
        sa.Column("key_id", sa.String(length=36), nullable=False),
        sa.Column("called_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("key_id", name=op.f("pk_key_turns")),
    )


def downgrade() -> None:
    op.drop_table("key_turns")
    with op.batch_alter_table("executors") as executors:
        executors.drop_column("slots")
    with op.batch_alter_table("jobs") as jobs:
        for name in (*_TIMES, "turn", "key_id"):
            jobs.drop_column(name)
