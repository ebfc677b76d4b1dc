"""Closed sets of words in the API: statuses of jobs, states of chips, scopes."""

from enum import StrEnum


class JobStatus(StrEnum):
    QUEUED = "queued"
    WAITING_FOR_CHIP = "waiting_for_chip"
    RUNNING = "running"
    CANCELLING = "cancelling"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


WAITING = frozenset({JobStatus.QUEUED, JobStatus.WAITING_FOR_CHIP})
ACTIVE = frozenset({JobStatus.RUNNING, JobStatus.CANCELLING})
OPEN = WAITING | ACTIVE
TERMINAL = frozenset(
    {JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELLED, JobStatus.EXPIRED}
)


class ChipState(StrEnum):
    IDLE = "idle"
    RUNNING = "running"
    OFFLINE = "offline"  # its agent has stopped sending heartbeats


class ChipHealth(StrEnum):
    GOOD = "good"
    DRIFTING = "drifting"
    BAD = "bad"
    UNKNOWN = "unknown"
    RETIRED = "retired"


class TargetSetState(StrEnum):
    UPLOADING = "uploading"
    COLLECTING = "collecting"
    READY = "ready"
    FAILED = "failed"


class Split(StrEnum):
    CALIBRATION = "calibration"
    TEST = "test"


class Scope(StrEnum):
    READ = "read"
    OPERATE = "operate"
    ADMIN = "admin"
    AGENT = "agent"  # may register agents and send heartbeats, nothing else
