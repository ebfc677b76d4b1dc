"""Closed sets of words in the API: statuses of jobs, states of chips, scopes."""

from enum import StrEnum


class JobStatus(StrEnum):
    """Status of a job. A client waits until it is terminal."""

    QUEUED = "queued"
    WAITING_FOR_CHIP = "waiting_for_chip"
    RUNNING = "running"
    CANCELLING = "cancelling"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


class OpenStatus(StrEnum):
    """Status of a job that can be cancelled."""

    QUEUED = JobStatus.QUEUED
    WAITING_FOR_CHIP = JobStatus.WAITING_FOR_CHIP
    RUNNING = JobStatus.RUNNING


WAITING = frozenset({JobStatus.QUEUED, JobStatus.WAITING_FOR_CHIP})
ACTIVE = frozenset({JobStatus.RUNNING, JobStatus.CANCELLING})
OPEN = WAITING | ACTIVE
TERMINAL = frozenset(
    {JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELLED, JobStatus.EXPIRED}
)


class ChipState(StrEnum):
    """What a chip is doing.

    A chip is `reserved` while no job drives it, but its next job was handed to the workers or the
    last trims of its version wait until it is old enough. Other jobs may still be sent to it.
    """

    IDLE = "idle"
    RESERVED = "reserved"  # it should stay where it is: a job will soon drive it
    RUNNING = "running"  # a job drives it
    OFFLINE = "offline"  # its agent has stopped sending heartbeats


class ChipHealth(StrEnum):
    """How well a chip does what its student asks for."""

    GOOD = "good"
    DRIFTING = "drifting"
    BAD = "bad"
    UNKNOWN = "unknown"
    RETIRED = "retired"


class TargetSetState(StrEnum):
    """How far a target set is."""

    UPLOADING = "uploading"
    COLLECTING = "collecting"
    READY = "ready"
    FAILED = "failed"


class Split(StrEnum):
    """Samples to learn from, or samples that are only measured."""

    CALIBRATION = "calibration"
    TEST = "test"


class Scope(StrEnum):
    """What an API key allows."""

    READ = "read"
    OPERATE = "operate"
    ADMIN = "admin"
    AGENT = "agent"  # may register agents and send heartbeats, nothing else
