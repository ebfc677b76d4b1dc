"""Faults and jobs of a fleet, drawn from a seed: the same seed gives the same of both."""

import random
from enum import StrEnum
from typing import NamedTuple


class Scale(NamedTuple):
    """How large the fleet is, how many faults hit it, and how often."""

    jobs: int
    chips: int
    workers: int
    faults: int
    pause: float  # s from one fault to the next, on average
    followed: int  # jobs whose event stream is read meanwhile
    timeout: float  # s until every job must have ended
    lease: float  # s that a lease lasts, and that a process may be silent
    full: float  # s that the disk is full


SHORT = Scale(
    jobs=10, chips=3, workers=2, faults=11, pause=0.8, followed=3, timeout=240, lease=4, full=4
)
LONG = Scale(
    jobs=200, chips=20, workers=3, faults=90, pause=3.0, followed=20, timeout=1800, lease=8, full=20
)


class Role(StrEnum):
    """A part of the fleet that a fault can hit."""

    WORKER = "worker"
    API = "api"
    AGENT = "agent"
    DATABASE = "database"
    DISK = "disk"  # of the artifacts


class FaultAction(StrEnum):
    """What a fault does."""

    KILL = "kill"  # by SIGKILL
    FREEZE = "freeze"  # SIGSTOP, then SIGCONT; the children of a worker go on meanwhile
    FREEZE_ALL = "freeze with its children"
    MOVE = "kill and start at another address"
    FILL = "fill"


class Fault(NamedTuple):
    """One kind of fault: an action on a part of one role."""

    action: FaultAction
    role: Role


PROCESSES = (Role.WORKER, Role.API, Role.AGENT, Role.DATABASE)
FAULTS = (
    *(Fault(FaultAction.KILL, role) for role in PROCESSES),
    *(Fault(FaultAction.FREEZE, role) for role in PROCESSES),
    Fault(FaultAction.FREEZE_ALL, Role.WORKER),
    Fault(FaultAction.MOVE, Role.AGENT),
    Fault(FaultAction.FILL, Role.DISK),
)


class FaultEvent(NamedTuple):
    """One fault: when it begins, which process it hits, how long it lasts. Faults overlap."""

    at: float  # s since the schedule began
    fault: Fault
    target: int
    duration: float  # s until the process is started or continued again


class JobRequest(NamedTuple):
    """One job that is submitted."""

    at: float  # s since the schedule began
    kind: str  # calibrate or evaluate
    chip: int
    samples: int
    cancelled: bool  # cancelled right after it was submitted


def fault_schedule(seed: int, scale: Scale) -> list[FaultEvent]:
    """Draw when which fault hits what: every kind once, as far as there are faults enough."""
    rng = random.Random(f"blows {seed}")
    kinds = list(FAULTS)
    rng.shuffle(kinds)
    faults = [*kinds, *rng.choices(FAULTS, k=scale.faults)][: scale.faults]
    begins = (scale.pause * (number + rng.random()) for number in range(scale.faults))
    return [_event(rng, at, fault, scale) for at, fault in zip(begins, faults, strict=True)]


def job_requests(seed: int, scale: Scale) -> list[JobRequest]:
    """Draw a mix of jobs over all chips, submitted while faults are injected."""
    rng = random.Random(f"wishes {seed}")
    duration = scale.faults * scale.pause
    return [
        JobRequest(
            at=duration * number / scale.jobs,
            kind=rng.choice(("calibrate", "evaluate")),
            chip=number % scale.chips,
            samples=32 * rng.randint(2, 6),
            cancelled=rng.random() < 0.1,
        )
        for number in range(scale.jobs)
    ]


def _event(rng: random.Random, at: float, fault: Fault, scale: Scale) -> FaultEvent:
    """A frozen process is away for longer than its lease; a killed one is back within 2 s."""
    killed = fault.action in (FaultAction.KILL, FaultAction.MOVE)
    duration = rng.uniform(0.5, 2.0) if killed else scale.lease + rng.uniform(1.0, 3.0)
    if fault.action is FaultAction.FILL:
        duration = scale.full
    crowd = {Role.AGENT: scale.chips, Role.WORKER: scale.workers}
    return FaultEvent(at, fault, rng.randrange(crowd.get(fault.role, 1)), duration)
