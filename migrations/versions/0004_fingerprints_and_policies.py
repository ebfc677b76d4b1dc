"""Fingerprints of chips, policies for probes and calibrations, an index of short-lived events."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0004"
down_revision: str | None = "0003"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None

_PASSING = sa.text("type IN ('job.progress', 'job.log')")


def upgrade() -> None:
    with op.batch_alter_table("chips") as chips:
        chips.add_column(sa.Column("drift_score", sa.Double(), nullable=True))
    op.create_index(
        op.f("ix_events_passing"),
        "events",
        ["created_at"],
        postgresql_where=_PASSING,
        sqlite_where=_PASSING,
    )
    _fingerprints()
    _policies()


def downgrade() -> None:
    op.drop_table("policies")
    op.drop_table("fingerprints")
    op.drop_index(op.f("ix_events_passing"), table_name="events")
    with op.batch_alter_table("chips") as chips:
        chips.drop_column("drift_score")


def _fingerprints() -> None:
    op.create_table(
        "fingerprints",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("chip_id", sa.String(length=36), nullable=False),
        sa.Column("job_id", sa.String(length=36), nullable=False),
        sa.Column("version", sa.Integer(), nullable=True),
        sa.Column("answer", sa.LargeBinary(), nullable=False),
        sa.Column("score", sa.Double(), nullable=True),
        sa.Column("chip_time_s", sa.Double(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["chip_id"], ["chips.id"], name=op.f("fk_fingerprints_chip_id_chips")
        ),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_fingerprints_job_id_jobs")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_fingerprints")),
        sa.UniqueConstraint("job_id", name=op.f("uq_fingerprints_job_id")),
    )
    op.create_index(op.f("ix_fingerprints_chip_id_id"), "fingerprints", ["chip_id", "id"])


def _policies() -> None:
    op.create_table(
        "policies",
        sa.Column("chip_id", sa.String(length=36), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("probe_every_s", sa.Double(), nullable=True),
        sa.Column("calibrate_at_score", sa.Double(), nullable=True),
        sa.Column("calibrate_every_s", sa.Double(), nullable=True),
        sa.Column("calibrate_after_jobs", sa.Integer(), nullable=True),
        sa.Column("pause_s", sa.Double(), nullable=False),
        sa.Column("student_id", sa.String(length=36), nullable=True),
        sa.Column("settings", sa.JSON(), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("jobs", sa.Integer(), nullable=False),
        sa.Column("calibrated_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("probe_due_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("calibrate_due_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("note", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["chip_id"], ["chips.id"], name=op.f("fk_policies_chip_id_chips")),
        sa.ForeignKeyConstraint(
            ["student_id"], ["students.id"], name=op.f("fk_policies_student_id_students")
        ),
        sa.PrimaryKeyConstraint("chip_id", name=op.f("pk_policies")),
    )
    op.create_index(op.f("ix_policies_due_at"), "policies", ["due_at"])
