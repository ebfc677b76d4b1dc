"""Durations of the calls of chip agents, measured by the last attempt that drove the chip."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0006"
down_revision: str | None = "0005"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None


def upgrade() -> None:
    op.add_column("agents", sa.Column("call_times", sa.JSON(), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("agents") as agents:
        agents.drop_column("call_times")
