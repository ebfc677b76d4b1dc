"""Teachers without weights: their owner keeps them, and sends activations alone."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0019"
down_revision: str | None = "0018"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None

_TABLE, _COLUMN, _COPY = "teachers", "weights_sha256", "weights_copied"
_NO_BLOCK = "0" * 64  # no block has it: an earlier release says that the weights are missing


def upgrade() -> None:
    _set(sa.Column(_COPY, sa.String(length=64), nullable=True))
    op.execute(f"UPDATE {_TABLE} SET {_COLUMN} = NULL WHERE {_COLUMN} = '{_NO_BLOCK}'")


def downgrade() -> None:
    op.execute(f"UPDATE {_TABLE} SET {_COLUMN} = '{_NO_BLOCK}' WHERE {_COLUMN} IS NULL")
    _set(sa.Column(_COPY, sa.String(length=64), server_default=_NO_BLOCK, nullable=False))


def _set(column: sa.Column[str]) -> None:
    """Let the column allow null, or forbid it, as this one does.

    SQLite changes no column. To copy the table, as Alembic would, means to drop it, which its
    foreign keys forbid; so the values are copied to another column, which takes its name.
    """
    if op.get_bind().dialect.name == "postgresql":
        op.alter_column(_TABLE, _COLUMN, nullable=column.nullable)
        return
    op.add_column(_TABLE, column)
    op.execute(f"UPDATE {_TABLE} SET {_COPY} = {_COLUMN}")
    op.drop_column(_TABLE, _COLUMN)
    op.execute(f"ALTER TABLE {_TABLE} RENAME COLUMN {_COPY} TO {_COLUMN}")
