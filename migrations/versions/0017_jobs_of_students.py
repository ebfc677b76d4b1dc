"""An index of the jobs of each student, which its page lists."""

from collections.abc import Sequence

from alembic import op

revision: str = "0017"
down_revision: str | None = "0016"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None


def upgrade() -> None:
    op.create_index("ix_jobs_student_id_id", "jobs", ["student_id", "id"])


def downgrade() -> None:
    op.drop_index("ix_jobs_student_id_id", "jobs")
