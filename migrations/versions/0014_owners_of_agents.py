"""Agents belong to the API key that registered them, and have a credential of their own."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0014"
down_revision: str | None = "0013"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None


def _columns() -> tuple[sa.Column[object], ...]:
    return (
        sa.Column("key_id", sa.String(length=36), nullable=True),
        sa.Column("credential_sha256", sa.String(length=64), nullable=True),
        sa.Column("former_sha256", sa.String(length=64), nullable=True),
        sa.Column("signed", sa.Boolean(), server_default=sa.false(), nullable=False),
    )


def upgrade() -> None:
    for column in _columns():
        op.add_column("agents", column)


def downgrade() -> None:
    for column in reversed(_columns()):
        op.drop_column("agents", column.name)
