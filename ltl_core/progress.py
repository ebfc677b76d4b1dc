"""What a long computation tells while it goes on."""

from enum import StrEnum
from typing import NamedTuple


class Phase(StrEnum):
    """Where a job stands."""

    COLLECTING = "collecting"
    TRAINING = "training"
    PLACING = "placing"
    BEFORE = "measuring before"
    TUNING = "tuning"
    PROBING = "probing"
    CALIBRATING = "calibrating"
    VERIFYING = "verifying"
    AFTER = "measuring after"


class Spent(NamedTuple):
    """What a calibration has used up so far."""

    samples: int = 0  # shown to the chip to learn from
    samples_measured: int = 0  # shown to the chip to measure it
    cells: int = 0  # differential pairs rewritten
    pulses: int = 0
    cell_writes_per_cell: float = 0.0


class Progress(NamedTuple):
    """One step of a computation has ended."""

    phase: Phase
    step: int
    steps: int
    accuracy: float | None = None  # of the last batch, or of what was measured
    rate_error: tuple[float, ...] = ()  # root mean square, hidden layer by hidden layer
    spent: Spent = Spent()
