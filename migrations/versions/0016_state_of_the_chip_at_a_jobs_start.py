"""A job keeps the ids of its chip's weight version and newest fingerprint at its start."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0016"
down_revision: str | None = "0015"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None

_COLUMNS = ("weights_id", "fingerprint_id")
# What earlier jobs found in force; the fingerprints of that time stay unknown.
_FILL = """
UPDATE jobs SET weights_id = (
  SELECT id FROM weight_versions
  WHERE weight_versions.chip_id = jobs.chip_id
  AND weight_versions.version = jobs.weights_in_force
)
WHERE weights_in_force IS NOT NULL
"""


def upgrade() -> None:
    for name in _COLUMNS:
        op.add_column("jobs", sa.Column(name, sa.String(length=36), nullable=True))
    op.execute(_FILL)


def downgrade() -> None:
    for name in reversed(_COLUMNS):
        op.drop_column("jobs", name)
