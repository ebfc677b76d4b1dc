"""Predicted loss of accuracy, in points, beside the drift score; loss curves of students."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0009"
down_revision: str | None = "0008"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None

_EVALUATED = "lost_points IS NOT NULL"


def _columns() -> tuple[tuple[str, sa.Column[object]], ...]:
    return (
        ("students", sa.Column("loss_curve", sa.JSON(none_as_null=True), nullable=True)),
        ("chips", sa.Column("predicted_loss", sa.JSON(none_as_null=True), nullable=True)),
        ("fingerprints", sa.Column("predicted_loss", sa.JSON(none_as_null=True), nullable=True)),
        ("fingerprints", sa.Column("lost_points", sa.Double(), nullable=True)),
    )


def upgrade() -> None:
    for table, column in _columns():
        op.add_column(table, column)
    where = sa.text(_EVALUATED)
    op.create_index(
        op.f("ix_fingerprints_evaluated"),
        "fingerprints",
        ["id"],
        postgresql_where=where,
        sqlite_where=where,
    )


def downgrade() -> None:
    op.drop_index(op.f("ix_fingerprints_evaluated"), table_name="fingerprints")
    for table, column in reversed(_columns()):
        op.drop_column(table, column.name)
