"""What a calibration measured, keeps so that it can go on, and came to."""

import json
from enum import StrEnum
from typing import NamedTuple

from torch import Tensor

from ltl_core.chip import LayerCodes
from ltl_core.errors import CorruptTensorsError
from ltl_core.packing import pack, unpack
from ltl_core.progress import Spent
from ltl_core.student.evaluate import Quality


class EndedBy(StrEnum):
    """Why a calibration learned no longer."""

    SAMPLES = "budget:samples"
    WRITES = "budget:writes"
    SECONDS = "budget:seconds"


class Measured(NamedTuple):
    """The chip at one moment, on samples it does not learn from."""

    test: Quality
    verification: Quality


class Checkpoint(NamedTuple):
    """All that is needed to go on after a step."""

    tensors: dict[str, Tensor]
    step: int
    spent: Spent
    before: Measured

    def to_block(self) -> bytes:
        """As a safetensors block."""
        about = {"step": self.step, "spent": self.spent, "before": self.before}
        return pack(self.tensors, {"about": json.dumps(about)})

    @classmethod
    def from_block(cls, block: bytes) -> "Checkpoint":
        """Read what `to_block` wrote. Raises CorruptTensorsError."""
        tensors, metadata = unpack(block)
        try:
            about = json.loads(metadata["about"])
            before = Measured(*(_quality(fields) for fields in about["before"]))
            return cls(tensors, int(about["step"]), Spent(*about["spent"]), before)
        except (KeyError, TypeError, ValueError) as error:
            raise CorruptTensorsError(f"it is no checkpoint: {error}") from error


class CalibrationResult(NamedTuple):
    """What came of it. The codes are those that stand on the chip at the end."""

    golden: Quality  # the ideal student, on the test samples
    before: Measured
    after: Measured  # with the codes that stand on the chip at the end
    candidate: Quality  # what was learned, on the verification samples
    improved: bool  # else the old codes were put back
    ended_by: EndedBy
    codes: dict[str, LayerCodes]
    spent: Spent

    @property
    def recovered_fraction(self) -> float | None:
        """(after - before) / (golden - before) in accuracy; None where nothing was lost."""
        lost = self.golden.accuracy - self.before.test.accuracy
        if lost <= 0:
            return None
        return (self.after.test.accuracy - self.before.test.accuracy) / lost


def _quality(fields: list[object]) -> Quality:
    accuracy, rate_error, losses = fields
    return Quality(float(accuracy), tuple(rate_error), tuple(losses))  # type: ignore
