"""The settings of a job, as closed and checked data. Readable without torch."""

import math
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ltl_core.chip import Observable
from ltl_core.deprecation import warn_deprecated
from ltl_core.method_name import MethodName as MethodName


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


# Bounds that no sensible request comes near; beyond them arithmetic overflows.
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Count = Annotated[int, Field(ge=0, le=10**9)]
Seconds = Annotated[float, Field(ge=0, le=1e9)]  # at most 32 years


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class NeuronSettings(_Settings):
    """The neuron and its time window. Potentials are in the units of the weights.

    Defaults are those of Yang et al., NeurIPS 2022.
    """

    threshold: float = Field(default=0.6, ge=1e-6, le=1e6)
    decay: float = Field(default=math.exp(-1 / 10), gt=0, le=1)  # fraction left after a step
    surrogate_width: float = Field(
        default=0.2, ge=1e-6, le=1e6
    )  # the boxcar |u - threshold| < width
    steps: int = Field(default=16, ge=1, le=1024)
    reset: Reset = Reset.ZERO
    warmup: int = Field(
        default=12, ge=0, le=1023
    )  # the online rule learns at steps warmup .. steps - 1

    @model_validator(mode="after")
    def _warmup_ends(self) -> "NeuronSettings":
        if self.warmup >= self.steps:
            raise ValueError(
                f"warmup {self.warmup} leaves none of the {self.steps} steps to learn at"
            )
        return self


class CodeSettings(_Settings):
    """The integer codes of a student: those of the chips that it is trained for.

    By default weights have 6 bits and a sign, and trims 8 bits. `info` of a chip has these values
    as `weight_code_max`, `trim_code_min`, `trim_code_max` and `trim_lsb`.
    """

    weight_max: int = Field(default=63, ge=1, lt=2**15)  # weight codes run from -max to +max
    trim_min: int = Field(default=-128, ge=-(2**15), le=0)
    trim_max: int = Field(default=127, ge=0, lt=2**15)
    trim_lsb: float = Field(default=1 / 256, gt=0, le=1)  # of one code, as part of the threshold


class TrainingSettings(_Settings):
    """How a golden student is trained."""

    rule: RuleName = RuleName.LTL_OFFLINE
    neuron: NeuronSettings = NeuronSettings()
    codes: CodeSettings = CodeSettings()
    epochs: int = Field(default=10, ge=1, le=1000)
    batch: int = Field(default=64, ge=1, le=4096)
    learning_rate: float = Field(default=1e-3, gt=0, le=1)  # in units of the weights; falls to zero
    milestones: tuple[Annotated[int, Field(ge=1, le=1000)], ...] = Field(default=(), max_length=100)
    gamma: float = Field(default=1.0, gt=0, le=1)  # factor of the rate at each milestone epoch
    scales: Scales = Scales.FROZEN
    percentile: float = Field(default=99.0, gt=0, le=100)  # of the scales of each batch
    readout: Readout = Readout.LABELS
    delta_bits: Literal[8] | None = 8  # of a local rule's deltas; None for floats
    shortcut_weight: float = Field(
        default=1.0, ge=0, le=1e6
    )  # of the losses of branches, at the start
    # Standard deviation of the noise on weights in every batch, as a fraction of the largest code.
    weight_noise: float = Field(default=0.0, ge=0, le=0.5)
    seed: Seed = 0

    def rate_fraction(self, done: float) -> float:
        """Fraction of the learning rate after `done` epochs: linear to zero, or by milestones."""
        if not self.milestones:
            return 1 - done / self.epochs
        return self.gamma ** sum(done >= milestone for milestone in self.milestones)


class Budget(_Settings):
    """What a calibration may use up at most; None means no limit.

    A sample that is presented twice counts twice in `samples`, and once in `distinct`.
    """

    samples: Count | None = 2000  # presented to the chip to learn from
    distinct: int | None = Field(default=None, ge=2, le=10**9)  # different samples of the lab
    pulses: int | None = Field(
        default=None, ge=0, le=2**53 - 1
    )  # programming pulses, of all devices
    cell_writes_per_cell: float | None = Field(default=None, ge=0, le=1e9)  # mean over all cells
    seconds: Seconds | None = None


class TargetSource(StrEnum):
    """Whose rates and outputs a chip learns to produce."""

    GOLDEN = "golden"  # the golden student's own, on inputs alone: no labels
    TEACHER = "teacher"  # the teacher's rates and outputs, as they were collected
    LABELS = "labels"  # the teacher's rates; the readout learns the labels


class Data(StrEnum):
    """Which samples are presented to a chip."""

    LAB = "lab"  # those that were uploaded
    SYNTHETIC = "synthetic"  # stimuli made from the golden student alone
    MIXED = "mixed"  # both, in equal parts


class Change(StrEnum):
    """What a calibration may change on the chip. Deprecated: name the stages instead."""

    AUTO = "auto"  # all stages
    TRIMS = "trims"  # the stage of the trims alone


class StageName(StrEnum):
    """The stages of a calibration, in this order; each begins only if the target is not met."""

    DRIFT = "drift"  # gain registers, of a chip that drifted since its weights were published
    TUNE = "tune"  # converter ranges and circuits, of a chip that was never tuned
    TRIMS = "trims"  # digital registers alone: no cell is written
    SIDE = "side"  # trims and digital side weights, of a chip that has these: no cell is written
    CELLS = "cells"  # weights and trims, then trims alone once more


STAGES = tuple(StageName)
AFTER_DRIFT = (StageName.DRIFT, StageName.TRIMS, StageName.CELLS)  # of a chip that was calibrated
# Fields of earlier versions, which stored requests and policies still hold.
_RETIRED = {
    "learning_rate": "weight_step",
    "trim_learning_rate": "trim_step",
    "start_share": "stages",
    "finish_share": "stages",
    "change": "stages",
}
# Defaults if drift alone is compensated: nothing is learned, so that few samples judge it.
_DRIFT_ALONE = {"test_samples": 128, "verification_samples": 128}


class CalibrationSettings(_Settings):
    """How one chip is calibrated. With the stage `drift` alone, 128 samples are measured."""

    method: MethodName = MethodName.LTL
    rule: RuleName = RuleName.LTL_ONLINE  # of the method ltl; the others have none
    observable: Observable = Observable.COUNTS
    targets: TargetSource = TargetSource.GOLDEN
    data: Data = Data.MIXED
    stages: tuple[StageName, ...] = Field(default=STAGES, min_length=1, max_length=16)
    # Points behind the golden student that are good enough; None: learn until a budget is used up.
    target_points: float | None = Field(default=0.5, ge=0, le=100)
    budget: Budget = Budget()
    batch: int = Field(default=4, ge=1, le=4096)  # small: the number of steps counts
    weight_step: float = Field(default=0.3, gt=0, le=16)  # weight codes a step, falling to zero
    side_step: float = Field(default=0.3, gt=0, le=16)  # weight codes a step, falling to zero
    trim_step: float = Field(default=4.0, gt=0, le=64)  # trim codes a step, falling to zero
    noise_floor: float = Field(default=0.3, ge=0, lt=1)  # mean over rms of gradients: none below
    write_margin: float = Field(default=1.5, ge=0, le=8)  # codes past the nearest for a write
    settle_s: Seconds = 60.0  # s of the chip's clock, before it is measured
    verification_share: float = Field(default=0.15, gt=0, lt=1)  # of the samples; never learned
    verification_samples: int = Field(
        default=256, ge=1, le=65536
    )  # synthetic ones complete the lab's
    test_samples: int | None = Field(
        default=1000, ge=1, le=10**9
    )  # to measure the accuracy, at most; None: all
    seed: Seed = 0

    @property
    def learns(self) -> bool:
        """Whether there are stages that need samples: all but the compensation of drift."""
        return any(stage is not StageName.DRIFT for stage in self.stages)

    @model_validator(mode="before")
    @classmethod
    def _from_earlier(cls, data: Any) -> Any:
        """Read what earlier versions stored: `change`, and rates in the units of weights.

        The rates have no effect: steps are in codes.
        """
        if not isinstance(data, Mapping):
            return data
        for name in _RETIRED.keys() & data.keys():
            old, new = (f"CalibrationSettings.{one}" for one in (name, _RETIRED[name]))
            warn_deprecated(old, instead=new, removed_in="0.3")
        change = data.get("change")
        kept = {name: value for name, value in data.items() if name not in _RETIRED}
        if change is not None and "stages" not in kept:
            kept["stages"] = (StageName.TRIMS,) if Change(change) is Change.TRIMS else STAGES
        stages = kept.get("stages")
        is_drift_alone = isinstance(stages, list | tuple) and [*stages] == [StageName.DRIFT]
        return _DRIFT_ALONE | kept if is_drift_alone else kept

    @model_validator(mode="after")
    def _rule_is_local(self) -> "CalibrationSettings":
        if not self.rule.is_local:
            raise ValueError(
                f"{self.rule} needs the gradient through a whole model; "
                "a chip is calibrated with ltl-online or ltl-offline"
            )
        return self

    @model_validator(mode="after")
    def _method_fits(self) -> "CalibrationSettings":
        if self.observable not in self.method.observables:
            known = ", ".join(self.method.observables)
            raise ValueError(
                f"the method {self.method} cannot learn from {self.observable}: "
                f"choose an observable of {known}"
            )
        if self.method is MethodName.ADABS and self.targets is not TargetSource.GOLDEN:
            raise ValueError("the method adabs compares with the golden student: targets 'golden'")
        beyond = {StageName.SIDE, StageName.CELLS} & set(self.stages)
        asked = beyond and StageName.TRIMS not in self.stages
        if asked and not self.method.moves_cells:
            raise ValueError(f"the method {self.method} moves trims alone: ask for stage 'trims'")
        return self


class TuneSettings(_Settings):
    """How the circuits of one chip are tuned."""

    repeats: int = Field(default=256, ge=32, le=65536)  # of each test of a neuron
    samples: int = Field(default=256, ge=1, le=65536)  # presented to set the ranges of converters
    clipped_max: float = Field(default=1e-3, ge=0, le=1)  # fraction of each layer's conversions
