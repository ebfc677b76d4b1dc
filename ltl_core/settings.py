"""The settings of a job, as closed and checked data. Readable without torch."""

import math
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ltl_core.chip import Observable


class RuleName(StrEnum):
    """The learning rules that a job may ask for; a chip is calibrated by a local one."""

    LTL_OFFLINE = "ltl-offline"
    LTL_ONLINE = "ltl-online"
    TANDEM = "tandem"
    BPTT = "bptt"  # end to end through time, boxcar surrogate
    DSPIKE = "dspike"  # end to end through time, a surrogate of fitted temperature
    SHORTCUT = "shortcut"  # bptt with a branch from every layer

    @property
    def is_local(self) -> bool:
        """Whether each layer learns from its own activity alone."""
        return self in (RuleName.LTL_OFFLINE, RuleName.LTL_ONLINE)


class Reset(StrEnum):
    """What a spike does to the membrane one step later."""

    ZERO = "zero"
    SUBTRACT = "subtract"


class Scales(StrEnum):
    """Where the scale k of each layer comes from, by which activations become rates."""

    FROZEN = "frozen"  # computed once, over the calibration set
    BATCH = "batch"  # computed anew in every batch, as in the published code


class Readout(StrEnum):
    """What the readout learns."""

    LABELS = "labels"  # cross-entropy; mean squared error where labels are numbers
    TEACHER = "teacher"  # cross-entropy with the teacher's softmax
    TEACHER_VALUES = "teacher-values"  # mean squared error to the teacher's outputs


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class NeuronSettings(_Settings):
    """The neuron and its time window. Potentials are in the units of the weights.

    Defaults are those of Yang et al., NeurIPS 2022.
    """

    threshold: float = Field(default=0.6, gt=0)
    decay: float = Field(default=math.exp(-1 / 10), gt=0, le=1)  # fraction left after a step
    surrogate_width: float = Field(default=0.2, gt=0)  # the boxcar |u - threshold| < width
    steps: int = Field(default=16, ge=1, le=1024)
    reset: Reset = Reset.ZERO
    warmup: int = Field(default=12, ge=0)  # the online rule learns at steps warmup .. steps - 1

    @model_validator(mode="after")
    def _warmup_ends(self) -> "NeuronSettings":
        if self.warmup >= self.steps:
            raise ValueError(
                f"warmup {self.warmup} leaves none of the {self.steps} steps to learn at"
            )
        return self


class TrainingSettings(_Settings):
    """How a golden student is trained."""

    rule: RuleName = RuleName.LTL_OFFLINE
    neuron: NeuronSettings = NeuronSettings()
    epochs: int = Field(default=10, ge=1, le=1000)
    batch: int = Field(default=64, ge=1, le=4096)
    learning_rate: float = Field(default=1e-3, gt=0, le=1)  # in units of the weights; falls to zero
    milestones: tuple[Annotated[int, Field(ge=1)], ...] = Field(default=(), max_length=100)
    gamma: float = Field(default=1.0, gt=0, le=1)  # factor of the rate at each milestone epoch
    scales: Scales = Scales.FROZEN
    percentile: float = Field(default=99.0, gt=0, le=100)  # of the scales of each batch
    readout: Readout = Readout.LABELS
    delta_bits: Literal[8] | None = 8  # of a local rule's deltas; None for floats
    shortcut_weight: float = Field(default=1.0, ge=0)  # of the losses of branches, at the start
    seed: int = Field(default=0, ge=0)

    def rate_fraction(self, done: float) -> float:
        """Fraction of the learning rate after `done` epochs: linear to zero, or by milestones."""
        if not self.milestones:
            return 1 - done / self.epochs
        return self.gamma ** sum(done >= milestone for milestone in self.milestones)


class Budget(_Settings):
    """What a calibration may use up at most; None means no limit."""

    samples: int | None = Field(default=8000, ge=0)  # presented to the chip to learn from
    cell_writes_per_cell: float | None = Field(default=None, ge=0)  # mean over all cells
    seconds: float | None = Field(default=None, ge=0)


class Change(StrEnum):
    """What a calibration may change on the chip."""

    AUTO = "auto"  # weights and trims
    TRIMS = "trims"  # digital registers alone: no cell is written


class CalibrationSettings(_Settings):
    """How one chip is calibrated."""

    rule: RuleName = RuleName.LTL_ONLINE
    observable: Observable = Observable.WINDOW
    change: Change = Change.AUTO
    budget: Budget = Budget()
    batch: int = Field(default=32, ge=1, le=4096)
    learning_rate: float = Field(default=1.5e-3, gt=0, le=1)  # of the weights, in their own units
    trim_learning_rate: float = Field(default=3e-2, gt=0, le=1)  # of the trims, in these units
    write_margin: float = Field(default=0.75, ge=0, le=8)  # codes past the nearest for a write
    start_share: float = Field(default=0.1, ge=0, le=1)  # fraction of first steps: trims alone
    finish_share: float = Field(default=0.6, ge=0, le=1)  # fraction of last steps: trims alone
    settle_s: float = Field(default=60.0, ge=0)  # s of the chip's clock, before it is measured
    verification_share: float = Field(default=0.15, gt=0, lt=1)  # of the samples; never learned
    seed: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _rule_is_local(self) -> "CalibrationSettings":
        if not self.rule.is_local:
            raise ValueError(
                f"{self.rule} needs the gradient through a whole model; "
                "a chip is calibrated with ltl-online or ltl-offline"
            )
        return self


class TuneSettings(_Settings):
    """How the circuits of one chip are tuned."""

    repeats: int = Field(default=256, ge=32, le=65536)  # of each test of a neuron
    samples: int = Field(default=256, ge=1, le=65536)  # presented to set the ranges of converters
    clipped_max: float = Field(default=1e-3, ge=0, le=1)  # fraction of each layer's conversions
