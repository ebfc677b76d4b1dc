"""The progress of a long computation, step by step."""

from enum import StrEnum
from typing import NamedTuple


class Phase(StrEnum):
    """The phase that a job is in."""

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
    """What a job has used up of a chip so far."""

    samples: int = 0  # presented to the chip to learn from
    samples_measured: int = 0  # presented to the chip to measure it
    cells: int = 0  # differential pairs rewritten
    pulses: int = 0  # programming pulses, of all devices
    cell_writes_per_cell: float = 0.0  # mean over all cells of the network


class LayerRate(NamedTuple):
    """Firing rate of one layer on a batch, mean over samples and neurons, in spikes a step."""

    measured: float
    target: float


class Progress(NamedTuple):
    """What is known when one step of a computation has ended."""

    phase: Phase
    step: int  # steps done
    steps: int  # steps in all
    accuracy: float | None = None  # of the last batch or measurement, 0 to 1
    rate_error: tuple[float, ...] = ()  # root mean square, spikes a step, for each hidden layer
    spent: Spent = Spent()
    rates: tuple[LayerRate, ...] = ()  # of each hidden layer, on the last batch
    stage: str = ""  # what the step moved, such as "weights"; empty if it moved nothing
    settled_s: float = 0.0  # seconds of the chip's clock that it was left to settle so far
