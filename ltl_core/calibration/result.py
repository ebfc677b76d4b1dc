"""What a calibration measures, what it keeps to go on later, and what comes of it."""

import json
import math
import statistics
from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple

from torch import Tensor

from ltl_core.chip import LayerCodes
from ltl_core.errors import CorruptTensorsError
from ltl_core.packing import pack, unpack
from ltl_core.progress import Spent
from ltl_core.student.evaluate import Quality


class EndedBy(StrEnum):
    """Which budget ended the learning."""

    SAMPLES = "budget:samples"
    WRITES = "budget:writes"
    SECONDS = "budget:seconds"


class Measured(NamedTuple):
    """The quality of the chip at one moment, on samples that it does not learn from."""

    test: Quality
    verification: Quality


class Checkpoint(NamedTuple):
    """All that is needed to go on after a step."""

    tensors: dict[str, Tensor]  # of the latent weights, see `LatentWeights.tensors`
    step: int  # steps done
    spent: Spent
    before: Measured  # of the chip before it learned

    def to_block(self, metadata: Mapping[str, str] | None = None) -> bytes:
        """Pack the checkpoint as a safetensors block, with more `metadata` beside its own."""
        about = json.dumps({"step": self.step, "spent": self.spent, "before": self.before})
        return pack(self.tensors, {**(metadata or {}), "about": about})

    @classmethod
    def from_block(cls, block: bytes) -> "Checkpoint":
        """Read a block of `to_block`. Raises CorruptTensorsError."""
        tensors, metadata = unpack(block)
        try:
            about = json.loads(metadata["about"])
            before = Measured(*(_quality(fields) for fields in about["before"]))
            return cls(tensors, int(about["step"]), Spent(*about["spent"]), before)
        except (KeyError, TypeError, ValueError) as error:
            raise CorruptTensorsError(f"it is not a checkpoint: {error}") from error


class CalibrationResult(NamedTuple):
    """What came of a calibration."""

    golden: Quality  # of the ideal student, on the test samples
    before: Measured
    after: Measured  # with the codes that are on the chip at the end
    candidate: Quality  # of what was learned, on the verification samples
    improved: bool  # if not, the old codes were put back
    ended_by: EndedBy
    codes: dict[str, LayerCodes]  # those that are on the chip at the end
    spent: Spent

    @property
    def recovered_fraction(self) -> float | None:
        """(after - before) / (golden - before) in accuracy; None if nothing was lost."""
        lost = self.golden.accuracy - self.before.test.accuracy
        if lost <= 0:
            return None
        return (self.after.test.accuracy - self.before.test.accuracy) / lost


def is_better(candidate: Quality, before: Quality) -> bool:
    """Tell whether the loss fell on the same samples, by more than one standard error of the mean.

    On a few hundred samples, most of them right, the loss says more than the number that are right.
    """
    gains = [old - new for old, new in zip(before.losses, candidate.losses, strict=True)]
    mean = statistics.fmean(gains)
    spread = statistics.pstdev(gains, mean)
    return mean > spread / math.sqrt(len(gains))


def _quality(fields: list[object]) -> Quality:
    accuracy, rate_error, losses = fields
    return Quality(float(accuracy), tuple(rate_error), tuple(losses))  # type: ignore
