"""Tables of upkeep: fingerprints of chips, and policies for probes and calibrations."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, ForeignKey, Index, LargeBinary, Text, false, text
from sqlalchemy.orm import Mapped, mapped_column

from service.db.base import Base, Id, Json

EVALUATED = "lost_points IS NOT NULL"  # fingerprints that an evaluation followed


class Fingerprint(Base):
    """The answer of one chip to its fixed stimulus, measured by one probe job."""

    __tablename__ = "fingerprints"
    __table_args__ = (
        Index("ix_fingerprints_chip_id_id", "chip_id", "id"),
        Index(
            "ix_fingerprints_evaluated",
            "id",
            postgresql_where=text(EVALUATED),
            sqlite_where=text(EVALUATED),
        ),
    )

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    chip_id: Mapped[str] = mapped_column(ForeignKey("chips.id"))
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"), unique=True)
    version: Mapped[int | None]  # the weight version in force at that time
    answer: Mapped[bytes] = mapped_column(
        LargeBinary
    )  # rates of each column, as zlib-compressed JSON
    score: Mapped[float | None]  # distance from publication; 0 at publication itself
    predicted_loss: Mapped[Json | None]  # points, low, high
    lost_points: Mapped[float | None]  # what an evaluation soon afterwards measured
    chip_time_s: Mapped[float]
    created_at: Mapped[datetime]


class Policy(Base):
    """When one chip is probed and calibrated automatically, and when that is due next."""

    __tablename__ = "policies"

    chip_id: Mapped[str] = mapped_column(ForeignKey("chips.id"), primary_key=True)
    enabled: Mapped[bool]
    probe_every_s: Mapped[float | None]
    calibrate_at_score: Mapped[float | None]
    calibrate_every_s: Mapped[float | None]
    calibrate_after_jobs: Mapped[int | None]
    calibrate_before_expiry: Mapped[bool] = mapped_column(server_default=false())
    quiet_hours: Mapped[list[Any] | None] = mapped_column(JSON(none_as_null=True))  # begin, end
    fixed_times: Mapped[list[Any] | None] = mapped_column(JSON(none_as_null=True))  # HH:MM, UTC
    pause_s: Mapped[float]  # shortest time between two calibrations
    student_id: Mapped[str | None] = mapped_column(
        ForeignKey("students.id")
    )  # None: of the version
    settings: Mapped[Json]  # of the calibration
    priority: Mapped[int]
    jobs: Mapped[int]  # jobs that ended since the last calibration
    calibrated_at: Mapped[datetime | None]  # when the last calibration ended, successful or not
    probe_due_at: Mapped[datetime | None]
    calibrate_due_at: Mapped[datetime | None]
    expiry_due_at: Mapped[datetime | None]  # when to act before the validity ends
    due_at: Mapped[datetime | None] = mapped_column(index=True)  # the earliest of them, if enabled
    note: Mapped[str | None] = mapped_column(Text)  # why the last planned job was not submitted
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
