"""Reset of a student's neurons; students of before get it from the request that trained them.

A worker of the release before, which knows nothing of the column, leaves its default. If its
student resets otherwise, a job with a chip is admitted, and fails before it writes to the chip.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0008"
down_revision: str | None = "0007"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None

_ZERO = "zero"
_JOBS = sa.table("jobs", sa.column("id", sa.String), sa.column("request", sa.JSON))
_STUDENTS = sa.table(
    "students", sa.column("job_id", sa.String), sa.column("reset", sa.String(length=20))
)


def upgrade() -> None:
    column = sa.Column("reset", sa.String(length=20), server_default=_ZERO, nullable=False)
    op.add_column("students", column)
    asked = _JOBS.c.request[("settings", "neuron", "reset")].as_string()
    of_student = _JOBS.c.id == _STUDENTS.c.job_id
    trained = sa.select(sa.func.coalesce(asked, _ZERO)).where(of_student).scalar_subquery()
    op.execute(sa.update(_STUDENTS).values(reset=trained))


def downgrade() -> None:
    op.drop_column("students", "reset")  # no batch: rows refer to the students
