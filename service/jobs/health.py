"""A chip's health in words: by its accuracy where that was measured, by its drift score between."""

from pydantic import BaseModel, ConfigDict, Field

from service.states import ChipHealth

_GOOD = 0.02  # accuracy that a good chip may lack of the golden student's
_DRIFTING = 0.10  # and one that is worth calibrating; beyond, it is bad
_ORDER = (ChipHealth.GOOD, ChipHealth.DRIFTING, ChipHealth.BAD)


class DriftThresholds(BaseModel):
    """From which drift scores on a chip is no longer good; `docs/results/drift-score.md`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    drifting: float = Field(default=0.8, gt=0)
    bad: float = Field(default=1.25, gt=0)


def health_by_accuracy(accuracy: float, golden: float) -> ChipHealth:
    """How far the chip is from the golden student."""
    lacking = golden - accuracy
    if lacking <= _GOOD:
        return ChipHealth.GOOD
    return ChipHealth.DRIFTING if lacking <= _DRIFTING else ChipHealth.BAD


def health_by_score(score: float, thresholds: DriftThresholds) -> ChipHealth:
    """How far the chip is from what it was when its weights were published."""
    if score < thresholds.drifting:
        return ChipHealth.GOOD
    return ChipHealth.DRIFTING if score < thresholds.bad else ChipHealth.BAD


def worse(one: ChipHealth, other: ChipHealth) -> ChipHealth:
    """Of two findings about one chip; what is not known says nothing."""
    known = [health for health in (one, other) if health in _ORDER]
    return max(known, key=_ORDER.index) if known else ChipHealth.UNKNOWN
