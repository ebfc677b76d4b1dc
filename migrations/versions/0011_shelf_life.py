"""Shelf life: validity of versions, and policies that act before it ends, at times of day."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0011"
down_revision: str | None = "0010"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None


def _columns() -> tuple[tuple[str, sa.Column[object]], ...]:
    time = sa.DateTime(timezone=True)
    return (
        ("weight_versions", sa.Column("cells_age_s", sa.Double(), nullable=True)),
        ("weight_versions", sa.Column("temperature_kelvin", sa.Double(), nullable=True)),
        ("weight_versions", sa.Column("validity", sa.JSON(none_as_null=True), nullable=True)),
        ("chips", sa.Column("validity", sa.JSON(none_as_null=True), nullable=True)),
        ("chips", sa.Column("valid_until", time, nullable=True)),
        (
            "policies",
            sa.Column(
                "calibrate_before_expiry", sa.Boolean(), server_default=sa.false(), nullable=False
            ),
        ),
        ("policies", sa.Column("quiet_hours", sa.JSON(none_as_null=True), nullable=True)),
        ("policies", sa.Column("fixed_times", sa.JSON(none_as_null=True), nullable=True)),
        ("policies", sa.Column("expiry_due_at", time, nullable=True)),
    )


def upgrade() -> None:
    for table, column in _columns():
        op.add_column(table, column)


def downgrade() -> None:
    for table, column in reversed(_columns()):
        op.drop_column(table, column.name)
