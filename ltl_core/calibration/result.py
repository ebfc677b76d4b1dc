"""What a calibration measures, what it keeps to go on later, and what comes of it."""

import json
from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple

from torch import Tensor

from ltl_core.calibration.compensation import CompensationResult, LayerFactor
from ltl_core.calibration.drift import Drift, LayerDrift
from ltl_core.calibration.judge import Judgement
from ltl_core.calibration.registers import Registers, without_registers
from ltl_core.calibration.stages import BegunStage, StageResult
from ltl_core.chip import LayerCodes, SideWeights
from ltl_core.errors import CalibrationError, CorruptTensorsError
from ltl_core.packing import pack, unpack
from ltl_core.progress import Spent
from ltl_core.settings import StageName
from ltl_core.student.evaluate import Quality

_BEST, _FAILED = "best:", "failed:"


class EndedBy(StrEnum):
    """What ended it: target met, nothing gained, no stage left, or a budget used up."""

    TARGET = "target met"
    NO_GAIN = "nothing gained any more"
    STAGES = "stages done"
    SAMPLES = "budget:samples"
    WRITES = "budget:writes"
    PULSES = "budget:pulses"
    SECONDS = "budget:seconds"


class Measured(NamedTuple):
    """How good the chip is at one moment, on samples that it does not learn from."""

    test: Quality
    verification: Judgement


class Seen(NamedTuple):
    """Codes, and what the chip was judged to do with them."""

    codes: Mapping[str, LayerCodes]
    judgement: Judgement


class EarlierCheckpointError(CalibrationError):
    """A checkpoint of an earlier version, from which this one cannot go on."""

    def __init__(self) -> None:
        super().__init__(
            "An earlier version of Tandemcal made this checkpoint, and it learned in other steps: "
            "begin the calibration again."
        )


class Checkpoint(NamedTuple):
    """All that is needed to go on after a step."""

    tensors: dict[str, Tensor]  # of the method, see `Method.tensors`
    step: int  # steps done
    spent: Spent
    before: Measured  # of the chip before it learned
    stages: tuple[BegunStage, ...] = ()
    registers: Registers = Registers()  # empty: a roll-back leaves them as they are
    compensation: CompensationResult | None = None  # None if that stage did not end
    best: Seen | None = None  # codes to go back to; None if they are those of the start
    checks_worse: int = 0  # in succession, of `Safeguard.check`
    failed: Mapping[str, Tensor] = {}  # cells that failed to verify, see `ChipSession.failed`

    def to_block(self, metadata: Mapping[str, str] | None = None) -> bytes:
        """Pack the checkpoint as a safetensors block, with more `metadata` beside its own."""
        about = json.dumps(
            {
                "step": self.step,
                "spent": self.spent,
                "before": self.before,
                "stages": self.stages,
                "compensation": self.compensation,
                "best": None if self.best is None else self.best.judgement,
                "checks_worse": self.checks_worse,
            }
        )
        best = {} if self.best is None else _tensors_of(self.best.codes)
        tensors = self.tensors | self.registers.tensors()
        tensors |= {f"{_BEST}{name}": codes for name, codes in best.items()}
        tensors |= {f"{_FAILED}{name}": cells.clone() for name, cells in self.failed.items()}
        return pack(tensors, {**(metadata or {}), "about": about})

    @classmethod
    def from_block(cls, block: bytes) -> "Checkpoint":
        """Read a block of `to_block`.

        One of an earlier version may hold no registers, no compensation and no best codes. Raises
        EarlierCheckpointError for a block of a version that learned in other steps, and
        CorruptTensorsError.
        """
        tensors, metadata = unpack(block)
        try:
            about = json.loads(metadata["about"])
            if "stages" not in about:
                raise EarlierCheckpointError
            test, verification = about["before"]
            before = Measured(_quality(test), _judgement(verification))
            stages = tuple(map(_stage, about["stages"]))
            compensation, best = about.get("compensation"), about.get("best")
            own = without_registers(tensors)
            return cls(
                {
                    key: tensor
                    for key, tensor in own.items()
                    if not key.startswith((_BEST, _FAILED))
                },
                int(about["step"]),
                Spent(*about["spent"]),
                before,
                stages,
                Registers.from_tensors(tensors),
                None if compensation is None else _compensation(compensation),
                None if best is None else Seen(_codes_of(_named(tensors, _BEST)), _judgement(best)),
                int(about.get("checks_worse", 0)),
                _named(tensors, _FAILED),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise CorruptTensorsError(f"it is not a checkpoint: {error}") from error


class CalibrationResult(NamedTuple):
    """What came of a calibration."""

    before: Measured
    after: Measured  # with the codes that are on the chip at the end
    candidate: Judgement  # of what was learned, on the verification samples
    stages: tuple[StageResult, ...]  # those that ran
    improved: bool  # if not, the old codes were put back
    ended_by: EndedBy
    codes: dict[str, LayerCodes]  # those that are on the chip at the end
    spent: Spent
    distinct: int = 0  # different samples of the lab that were used
    compensation: CompensationResult | None = None  # None if that stage did not run
    failed_cells: int = 0  # cells that failed to verify; they are given up
    side: Mapping[str, SideWeights] = {}  # those that are on the chip at the end

    @property
    def is_new_version(self) -> bool:
        """Whether it is better by more than gains that make up for drift: codes or circuits."""
        return self.improved and any(one.stage is not StageName.DRIFT for one in self.stages)


def _named(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Return the tensors whose names begin with a prefix, without it."""
    return {
        key.removeprefix(prefix): tensor
        for key, tensor in tensors.items()
        if key.startswith(prefix)
    }


def _tensors_of(codes: Mapping[str, LayerCodes]) -> dict[str, Tensor]:
    """Return copies of codes as named tensors: `LAYER:FIELD`."""
    return {
        f"{layer}:{field}": tensor.clone()
        for layer, fields in codes.items()
        for field, tensor in fields._asdict().items()
    }


def _codes_of(tensors: Mapping[str, Tensor]) -> dict[str, LayerCodes]:
    """Read what `_tensors_of` returned."""
    layers = dict.fromkeys(key.rpartition(":")[0] for key in tensors)
    return {
        layer: LayerCodes(*(tensors[f"{layer}:{field}"] for field in LayerCodes._fields))
        for layer in layers
    }


def _quality(fields: list[object]) -> Quality:
    accuracy, rate_error, losses = fields
    return Quality(float(accuracy), tuple(rate_error), tuple(losses))  # type: ignore


def _judgement(fields: list[object]) -> Judgement:
    losses, lost, agreement = fields
    return Judgement(tuple(losses), tuple(lost), float(agreement))  # type: ignore


def _compensation(fields: list[object]) -> CompensationResult:
    layers, before, after, compensated = fields
    factors = tuple(LayerFactor(*layer) for layer in layers)  # type: ignore
    return CompensationResult(factors, _drift(before), _drift(after), bool(compensated))  # type: ignore


def _drift(fields: list[object]) -> Drift:
    score, layers = fields
    return Drift(float(score), tuple(LayerDrift(*layer) for layer in layers))  # type: ignore


def _stage(fields: list[object]) -> BegunStage:
    name, moves_cells, points_before, spent = fields
    return BegunStage(StageName(name), bool(moves_cells), float(points_before), Spent(*spent))  # type: ignore
