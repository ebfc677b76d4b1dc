"""Secrets of agents are stored encrypted. The next start of the service encrypts those in clear.

It does so, and not this migration, because a process of the release before may go on to write
them in clear, and because whoever migrates need not know the keys.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0015"
down_revision: str | None = "0014"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None


def upgrade() -> None:
    op.add_column("agents", sa.Column("encrypted_secret", sa.String(length=400), nullable=True))


def downgrade() -> None:
    op.execute("DELETE FROM agents WHERE secret = ''")  # they register again
    op.drop_column("agents", "encrypted_secret")
