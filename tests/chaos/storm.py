"""What happens to a fleet, drawn from a seed: the same seed, the same jobs and the same storm."""

import random
from enum import StrEnum
from typing import NamedTuple


class Scale(NamedTuple):
    """How large the fleet is, and how hard the storm."""

    jobs: int
    chips: int
    workers: int
    blows: int
    pause: float  # s from one blow to the next, on average
    followed: int  # jobs whose events somebody reads while it storms
    patience: float  # s until every job must have ended


SHORT = Scale(jobs=12, chips=3, workers=2, blows=9, pause=1.6, followed=3, patience=240)
LONG = Scale(jobs=200, chips=20, workers=3, blows=90, pause=3.0, followed=20, patience=1800)


class Role(StrEnum):
    """Whom it can befall."""

    WORKER = "worker"
    API = "api"
    AGENT = "agent"
    DATABASE = "database"


class Deed(StrEnum):
    """What can befall a process."""

    KILL = "kill"  # by SIGKILL
    FREEZE = "freeze"  # by SIGSTOP, and wake it by SIGCONT; a worker's children go on meanwhile
    FREEZE_ALL = "freeze with its children"


class Fault(NamedTuple):
    """One kind of misfortune."""

    deed: Deed
    role: Role


FAULTS = (
    *(Fault(Deed.KILL, role) for role in Role),
    *(Fault(Deed.FREEZE, role) for role in Role),
    Fault(Deed.FREEZE_ALL, Role.WORKER),
)


class Blow(NamedTuple):
    """One fault: when, whom, and for how long. Blows overlap."""

    at: float  # s since the storm began
    fault: Fault
    whom: int
    lasting: float  # s until it is started or woken again


class Wish(NamedTuple):
    """One job that is asked for."""

    at: float  # s since the storm began
    kind: str  # calibrate or evaluate
    chip: int
    samples: int
    cancelled: bool  # called off at once


def blows(seed: int, scale: Scale) -> list[Blow]:
    """Every fault at least once, as far as there are blows."""
    rng = random.Random(f"blows {seed}")
    kinds = list(FAULTS)
    rng.shuffle(kinds)
    faults = [*kinds, *rng.choices(FAULTS, k=scale.blows)][: scale.blows]
    begins = (scale.pause * (number + rng.random()) for number in range(scale.blows))
    return [_blow(rng, at, fault, scale) for at, fault in zip(begins, faults, strict=True)]


def wishes(seed: int, scale: Scale) -> list[Wish]:
    """A mix of jobs over all chips, asked for as long as it storms."""
    rng = random.Random(f"wishes {seed}")
    lasting = scale.blows * scale.pause
    return [
        Wish(
            at=lasting * number / scale.jobs,
            kind=rng.choice(("calibrate", "evaluate")),
            chip=number % scale.chips,
            samples=32 * rng.randint(2, 6),
            cancelled=rng.random() < 0.1,
        )
        for number in range(scale.jobs)
    ]


def _blow(rng: random.Random, at: float, fault: Fault, scale: Scale) -> Blow:
    """Who is frozen misses his lease; who is killed is back soon."""
    killed = fault.deed is Deed.KILL
    lasting = rng.uniform(0.5, 2.0) if killed else rng.uniform(9.0, 11.0)
    crowd = {Role.AGENT: scale.chips, Role.WORKER: scale.workers}
    return Blow(at, fault, rng.randrange(crowd.get(fault.role, 1)), lasting)
