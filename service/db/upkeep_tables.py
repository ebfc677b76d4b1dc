"""The tables that keep a fleet good: what chips answered to probes, and when each is due."""

from datetime import datetime

from sqlalchemy import ForeignKey, Index, LargeBinary, Text
from sqlalchemy.orm import Mapped, mapped_column

from service.db.base import Base, Id, Json


class Fingerprint(Base):
    """What one chip answered to its fixed stimulus at one moment."""

    __tablename__ = "fingerprints"
    __table_args__ = (Index("ix_fingerprints_chip_id_id", "chip_id", "id"),)

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    chip_id: Mapped[str] = mapped_column(ForeignKey("chips.id"))
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"), unique=True)
    version: Mapped[int | None]  # in force then
    answer: Mapped[bytes] = mapped_column(LargeBinary)  # rates of each column: JSON, zlib
    score: Mapped[float | None]  # distance from publication; 0 at publication itself
    chip_time_s: Mapped[float]
    created_at: Mapped[datetime]


class Policy(Base):
    """When one chip is probed and calibrated without being asked, and when that is due."""

    __tablename__ = "policies"

    chip_id: Mapped[str] = mapped_column(ForeignKey("chips.id"), primary_key=True)
    enabled: Mapped[bool]
    probe_every_s: Mapped[float | None]
    calibrate_at_score: Mapped[float | None]
    calibrate_every_s: Mapped[float | None]
    calibrate_after_jobs: Mapped[int | None]
    pause_s: Mapped[float]  # at least so long between two calibrations
    student_id: Mapped[str | None] = mapped_column(ForeignKey("students.id"))  # None: in force
    settings: Mapped[Json]  # of the calibration
    priority: Mapped[int]
    jobs: Mapped[int]  # that ended since the last calibration
    calibrated_at: Mapped[datetime | None]  # when the last one ended, well or not
    probe_due_at: Mapped[datetime | None]
    calibrate_due_at: Mapped[datetime | None]
    due_at: Mapped[datetime | None] = mapped_column(index=True)  # the earlier one, if enabled
    note: Mapped[str | None] = mapped_column(Text)  # why the last plan came to nothing
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
