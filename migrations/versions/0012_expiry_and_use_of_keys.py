"""Keys that expire, and when a key was last used."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0012"
down_revision: str | None = "0011"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None

_TIMES = ("expires_at", "last_used_at")


def upgrade() -> None:
    for name in _TIMES:
        op.add_column("api_keys", sa.Column(name, sa.DateTime(timezone=True), nullable=True))


def downgrade() -> None:
    for name in _TIMES:
        op.drop_column("api_keys", name)
