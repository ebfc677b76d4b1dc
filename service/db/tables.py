"""Tables of teachers, students, chips, jobs and weights.

Times are UTC, ids are UUIDv7 as text, JSON columns hold what the API shows.
"""

from datetime import datetime

from sqlalchemy import (
    BigInteger,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from service.db.base import Base, Id, Json, Sha256


class Teacher(Base):
    """A pre-trained network and its weights, unless its owner keeps them."""

    __tablename__ = "teachers"

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    name: Mapped[str]
    network: Mapped[Json]  # NetworkSpec
    weights_sha256: Mapped[str | None] = mapped_column(Sha256)  # None: only activations come
    created_at: Mapped[datetime]


class TargetSet(Base):
    """Samples, and the activations of a teacher for them."""

    __tablename__ = "target_sets"

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    name: Mapped[str]
    teacher_id: Mapped[str] = mapped_column(ForeignKey("teachers.id"), index=True)
    state: Mapped[str] = mapped_column(String(20))  # uploading, collecting, ready, failed
    reason: Mapped[str | None] = mapped_column(Text)
    chunks: Mapped[int]  # how many chunks were announced
    percentile: Mapped[float]  # of the activations of a layer, which gives its scale
    summary: Mapped[Json | None]  # samples of each split, scales, teacher accuracy
    activations_sha256: Mapped[str | None] = mapped_column(Sha256)
    created_at: Mapped[datetime]


class TargetChunk(Base):
    """One uploaded part of a target set."""

    __tablename__ = "target_chunks"

    target_set_id: Mapped[str] = mapped_column(ForeignKey("target_sets.id"), primary_key=True)
    index: Mapped[int] = mapped_column(primary_key=True)
    split: Mapped[str] = mapped_column(String(20))  # calibration, test
    samples: Mapped[int]
    sha256: Mapped[str] = mapped_column(Sha256)
    created_at: Mapped[datetime]


class Student(Base):
    """A golden student, the result of a `train` job."""

    __tablename__ = "students"

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    teacher_id: Mapped[str] = mapped_column(ForeignKey("teachers.id"), index=True)
    target_set_id: Mapped[str] = mapped_column(ForeignKey("target_sets.id"), index=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"), unique=True)
    rule: Mapped[str] = mapped_column(String(40))
    reset: Mapped[str] = mapped_column(String(20), server_default="zero")  # of its neurons: Reset
    accuracy: Mapped[Json]  # teacher, golden
    sha256: Mapped[str] = mapped_column(Sha256)  # codes, scales and registers, safetensors
    loss_curve: Mapped[Json | None]  # LossCurve; None before its first probe
    golden_accuracy: Mapped[Json | None]  # on samples of calibrations, by what they are
    created_at: Mapped[datetime]


class Chip(Base):
    """A chip, how it is driven, and its last measurements."""

    __tablename__ = "chips"

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    backend: Mapped[str] = mapped_column(
        String(40)
    )  # simulated, http (behind an agent), or an entry point
    settings: Mapped[Json]  # of the backend: preset, seed, overrides
    info: Mapped[Json]  # ChipInfo
    health: Mapped[str] = mapped_column(
        String(20), index=True
    )  # good, drifting, bad, unknown, retired
    accuracy: Mapped[float | None]  # in the last measurement
    drift_score: Mapped[float | None]  # of the last probe; 0 when weights are published
    predicted_loss: Mapped[Json | None]  # points, low, high; since publication, by the last probe
    version_in_force: Mapped[int | None]
    validity: Mapped[Json | None]  # of that version: age_s, low_s, high_s of the chip's clock
    valid_until: Mapped[datetime | None]  # when it reaches low_s; None if that is not in sight
    state_sha256: Mapped[str | None] = mapped_column(
        Sha256
    )  # the saved devices of a simulated chip
    state_saved_at: Mapped[datetime | None]
    created_at: Mapped[datetime]
    retired_at: Mapped[datetime | None]


KEPT_CHECKPOINTS = "checkpoint_sha256 IS NOT NULL"  # jobs whose checkpoint has not been deleted
CALIBRATED = "kind = 'calibrate' AND status = 'succeeded'"
OPEN_JOBS = "status IN ('queued', 'waiting_for_chip', 'running', 'cancelling')"
CALLED = f"{OPEN_JOBS} AND called_at IS NOT NULL"
OPEN_SERVICE_JOBS = (
    f"{OPEN_JOBS} AND key_id IS NULL"  # jobs of the service itself, mostly planned ones
)
# Waiting jobs that expire if they do not start in time.
DEADLINE = "status IN ('queued', 'waiting_for_chip') AND queue_deadline IS NOT NULL"


class Job(Base):
    """A job: its request, its place in the queue, its progress and its result."""

    __tablename__ = "jobs"
    __table_args__ = (
        Index("ix_jobs_chip_id_id", "chip_id", "id"),
        Index("ix_jobs_status_id", "status", "id"),
        Index("ix_jobs_student_id_id", "student_id", "id"),
        Index(
            "ix_jobs_left_checkpoints",
            "ended_at",
            postgresql_where=text(KEPT_CHECKPOINTS),
            sqlite_where=text(KEPT_CHECKPOINTS),
        ),
        Index(
            "ix_jobs_calibrated",
            "chip_id",
            "id",
            postgresql_where=text(CALIBRATED),
            sqlite_where=text(CALIBRATED),
        ),
        Index(
            "ix_jobs_open",
            "chip_id",
            "kind",
            postgresql_where=text(OPEN_JOBS),
            sqlite_where=text(OPEN_JOBS),
        ),
        Index(
            "ix_jobs_called",
            "chip_id",
            "key_id",
            postgresql_where=text(CALLED),
            sqlite_where=text(CALLED),
        ),
        Index(
            "ix_jobs_nobodys",
            "kind",
            postgresql_where=text(OPEN_SERVICE_JOBS),
            sqlite_where=text(OPEN_SERVICE_JOBS),
        ),
        Index(
            "ix_jobs_deadline",
            "queue_deadline",
            postgresql_where=text(DEADLINE),
            sqlite_where=text(DEADLINE),
        ),
    )

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    kind: Mapped[str] = mapped_column(String(20))  # a name in service/jobs/kinds/registry.py
    status: Mapped[str] = mapped_column(String(20))
    reason: Mapped[str | None] = mapped_column(Text)
    request: Mapped[Json]  # as accepted, with defaults filled in
    teacher_id: Mapped[str | None] = mapped_column(ForeignKey("teachers.id"))
    target_set_id: Mapped[str | None] = mapped_column(ForeignKey("target_sets.id"))
    student_id: Mapped[str | None] = mapped_column(Id)  # of a `train` job: the student it published
    chip_id: Mapped[str | None] = mapped_column(ForeignKey("chips.id"))
    progress: Mapped[Json | None]
    spent: Mapped[Json | None]
    result: Mapped[Json | None]
    weights_in_force: Mapped[int | None]  # the chip's version when the job started
    weights_id: Mapped[str | None] = mapped_column(Id)  # of that version
    fingerprint_id: Mapped[str | None] = mapped_column(Id)  # the chip's newest when it started
    priority: Mapped[int]
    key_id: Mapped[str | None] = mapped_column(
        Id
    )  # key that submitted it; None: the service itself
    not_before: Mapped[datetime | None]
    queue_deadline: Mapped[datetime | None]  # a job that has not started by then expires
    turn: Mapped[int] = mapped_column(server_default="0")  # how often it was dispatched
    called_at: Mapped[datetime | None]  # when it was dispatched; None while it waits
    held_until: Mapped[datetime | None]  # it is not dispatched again before this time
    attempt: Mapped[int]
    token: Mapped[int | None]  # fencing token of the attempt that drives it
    executor_id: Mapped[str | None]
    checkpoint_sha256: Mapped[str | None] = mapped_column(Sha256)
    checkpoint_step: Mapped[int | None]
    created_at: Mapped[datetime]
    started_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    cancel_requested_at: Mapped[datetime | None]
    code_version: Mapped[str] = mapped_column(String(60))


TRANSIENT_EVENTS = "type IN ('job.progress', 'job.log')"  # deleted some time after the job's end


class Event(Base):
    """An event. The table is append-only: audit trail, and source of the event stream."""

    __tablename__ = "events"
    __table_args__ = (
        UniqueConstraint("subject", "type", "key"),
        Index("ix_events_job_id_seq", "job_id", "seq"),
        Index("ix_events_chip_id_seq", "chip_id", "seq"),
        Index(
            "ix_events_passing",
            "created_at",
            postgresql_where=text(TRANSIENT_EVENTS),
            sqlite_where=text(TRANSIENT_EVENTS),
        ),
    )

    seq: Mapped[int] = mapped_column(
        BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True
    )
    subject: Mapped[str] = mapped_column(Id)  # id of the job, else of the chip
    type: Mapped[str] = mapped_column(String(40))
    key: Mapped[str] = mapped_column(
        String(80)
    )  # makes a repeated write of the same event have no effect
    job_id: Mapped[str | None] = mapped_column(Id)
    chip_id: Mapped[str | None] = mapped_column(Id)
    data: Mapped[Json]
    created_at: Mapped[datetime]


HELD = "holder IS NOT NULL"


class ChipLease(Base):
    """Who drives a chip; `token` is the fencing token of the last lease."""

    __tablename__ = "chip_leases"
    __table_args__ = (
        Index(
            "ix_chip_leases_held",
            "chip_id",
            postgresql_where=text(HELD),
            sqlite_where=text(HELD),
        ),
    )

    chip_id: Mapped[str] = mapped_column(ForeignKey("chips.id"), primary_key=True)
    token: Mapped[int]
    holder: Mapped[str | None]  # the executor's id
    job_id: Mapped[str | None] = mapped_column(Id)
    expires_at: Mapped[datetime]


class WeightVersion(Base):
    """Codes and trims that a calibration published for one chip."""

    __tablename__ = "weight_versions"
    __table_args__ = (UniqueConstraint("chip_id", "version"),)

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    chip_id: Mapped[str] = mapped_column(ForeignKey("chips.id"))
    version: Mapped[int]
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"), unique=True)
    student_id: Mapped[str] = mapped_column(ForeignKey("students.id"), index=True)
    target_set_id: Mapped[str] = mapped_column(ForeignKey("target_sets.id"))
    token: Mapped[int]
    sha256: Mapped[str] = mapped_column(Sha256)  # of the safetensors block
    block: Mapped[bytes] = mapped_column(LargeBinary)  # that block, zlib-compressed
    fingerprint: Mapped[Json | None]
    chip_time_s: Mapped[float]
    cells_age_s: Mapped[float | None]  # of its cells at that time, as `cells_age` counts
    temperature_kelvin: Mapped[float | None]  # of the chip at that time, if it is known
    validity: Mapped[Json | None]  # age_s, low_s, high_s; rate, if it was found by probes
    rule: Mapped[str] = mapped_column(String(40))
    observable: Mapped[str] = mapped_column(String(20))
    accuracy: Mapped[Json]  # golden, before, after
    code_version: Mapped[str] = mapped_column(String(60))
    created_at: Mapped[datetime]
