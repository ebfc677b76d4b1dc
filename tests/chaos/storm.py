"""What happens to a fleet, drawn from a seed: the same seed, the same storm."""

import random
from enum import StrEnum
from typing import NamedTuple


class Scale(NamedTuple):
    """How large the fleet is, and how hard the storm."""

    jobs: int
    chips: int
    workers: int
    blows: int
    pause: float  # s between two blows, on average
    patience: float  # s until every job must have ended


SHORT = Scale(jobs=12, chips=3, workers=2, blows=6, pause=2.5, patience=240)
LONG = Scale(jobs=200, chips=20, workers=3, blows=60, pause=4.0, patience=2400)


class Fault(StrEnum):
    """What can befall a process."""

    KILL_WORKER = "kill worker"
    FREEZE_WORKER = "freeze worker"  # past its lease, and wake it then
    KILL_API = "kill api"
    KILL_AGENT = "kill agent"
    FREEZE_AGENT = "freeze agent"
    KILL_DATABASE = "kill database"


class Blow(NamedTuple):
    """One fault: after which pause, whom, and for how long."""

    pause: float  # s
    fault: Fault
    whom: int
    lasting: float  # s until it is started or woken again


class Wish(NamedTuple):
    """One job that is asked for."""

    kind: str  # calibrate or evaluate
    chip: int
    samples: int
    cancelled: bool  # called off at once


def blows(seed: int, scale: Scale) -> list[Blow]:
    """Every kind of fault at least once, as far as there are blows."""
    rng = random.Random(f"blows {seed}")
    kinds = list(Fault)
    rng.shuffle(kinds)
    faults = [*kinds, *rng.choices(list(Fault), k=scale.blows)][: scale.blows]
    return [_blow(rng, fault, scale) for fault in faults]


def wishes(seed: int, scale: Scale) -> list[Wish]:
    """A mix of jobs, over all chips."""
    rng = random.Random(f"wishes {seed}")
    return [
        Wish(
            kind=rng.choice(("calibrate", "evaluate")),
            chip=number % scale.chips,
            samples=32 * rng.randint(2, 6),
            cancelled=rng.random() < 0.1,
        )
        for number in range(scale.jobs)
    ]


def _blow(rng: random.Random, fault: Fault, scale: Scale) -> Blow:
    frozen = fault in (Fault.FREEZE_WORKER, Fault.FREEZE_AGENT)
    lasting = rng.uniform(9.0, 11.0) if frozen else rng.uniform(0.5, 2.0)
    crowd = {Fault.KILL_AGENT: scale.chips, Fault.FREEZE_AGENT: scale.chips}
    whom = rng.randrange(crowd.get(fault, scale.workers))
    return Blow(rng.uniform(0.5, 1.5) * scale.pause, fault, whom, lasting)
