"""Accuracies of golden students on the samples that their chips are measured on."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0010"
down_revision: str | None = "0009"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None


def upgrade() -> None:
    column = sa.Column("golden_accuracy", sa.JSON(none_as_null=True), nullable=True)
    op.add_column("students", column)


def downgrade() -> None:
    op.drop_column("students", "golden_accuracy")
