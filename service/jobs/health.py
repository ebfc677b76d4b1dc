"""A chip's health: by its accuracy where that was measured, by its drift score in between."""

from pydantic import BaseModel, ConfigDict, Field

from service.states import ChipHealth

_GOOD = 0.02  # accuracy that a good chip may lack of the golden student's
_DRIFTING = 0.10  # and one that is worth calibrating; beyond, it is bad
_ORDER = (ChipHealth.GOOD, ChipHealth.DRIFTING, ChipHealth.BAD)


class DriftThresholds(BaseModel):
    """Drift scores from which on a chip is drifting, or bad; see `docs/results/drift-score.md`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    drifting: float = Field(default=0.8, gt=0)
    bad: float = Field(default=1.25, gt=0)


def health_by_accuracy(accuracy: float, golden: float) -> ChipHealth:
    """Return the health of a chip by its accuracy and the golden student's, both in [0, 1]."""
    lacking = golden - accuracy
    if lacking <= _GOOD:
        return ChipHealth.GOOD
    return ChipHealth.DRIFTING if lacking <= _DRIFTING else ChipHealth.BAD


def health_by_score(score: float, thresholds: DriftThresholds) -> ChipHealth:
    """Return the health of a chip by its drift score since its weights were published."""
    if score < thresholds.drifting:
        return ChipHealth.GOOD
    return ChipHealth.DRIFTING if score < thresholds.bad else ChipHealth.BAD


def worse(one: ChipHealth, other: ChipHealth) -> ChipHealth:
    """Return the worse of two findings about one chip; UNKNOWN only where both are unknown."""
    known = [health for health in (one, other) if health in _ORDER]
    return max(known, key=_ORDER.index) if known else ChipHealth.UNKNOWN
