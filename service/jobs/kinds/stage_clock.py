"""The seconds that each stage of a calibration takes, over all attempts of its job."""

import json

from ltl_core.block_metadata import read_metadata
from ltl_core.progress import Phase

_KEY = "stage_seconds"
_IN_STAGES = (Phase.TUNING, Phase.CALIBRATING)


class StageClock:
    """Follows the steps of a calibration; a stage begins where the step before it ended."""

    def __init__(self, now: float, begins: tuple[float, ...] = ()) -> None:
        """Start at `now`, seconds of the job, with the stages that have begun already."""
        self.last = now  # end of the last step, before the calibration verifies
        self._begins = begins

    @classmethod
    def from_block(cls, block: bytes, now: float) -> "StageClock":
        """Go on from a checkpoint that holds `metadata`; an earlier one holds no seconds."""
        begins = json.loads(read_metadata(block).get(_KEY, "[]"))
        return cls(now, tuple(map(float, begins)))

    def metadata(self) -> dict[str, str]:
        """Return the metadata for a checkpoint."""
        return {_KEY: json.dumps(self._begins)}

    def follow(self, begun: int, phase: Phase, now: float) -> None:
        """Note that a step ended at `now` with so many stages begun."""
        self._begins += (self.last,) * (begun - len(self._begins))
        if phase in _IN_STAGES or not begun:
            self.last = now

    def seconds(self, stages: int) -> list[float | None]:
        """Return the seconds of each of so many stages; None of one that was not followed."""
        if len(self._begins) != stages:
            return [None] * stages
        ends = (*self._begins[1:], self.last)
        return [round(end - begin, 3) for begin, end in zip(self._begins, ends, strict=False)]
