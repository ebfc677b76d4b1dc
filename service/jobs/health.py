"""A chip's health: by its accuracy where that was measured, by its predicted loss in between."""

from ltl_core.calibration.prediction import Prediction
from service.states import ChipHealth

_GOOD = 0.02  # accuracy that a good chip may lack of the golden student's
_DRIFTING = 0.10  # and one that is worth calibrating; beyond, it is bad
_GOOD_POINTS, _BAD_POINTS = 2.0, 10.0  # predicted loss: a good chip's is below, a bad one's is not
_SURELY_POINTS = 5.0  # and the upper end of a good chip's interval is below this
_ORDER = (ChipHealth.GOOD, ChipHealth.DRIFTING, ChipHealth.BAD)


def health_by_accuracy(accuracy: float, golden: float) -> ChipHealth:
    """Return the health of a chip by its accuracy and the golden student's, both in [0, 1]."""
    lacking = golden - accuracy
    if lacking <= _GOOD:
        return ChipHealth.GOOD
    return ChipHealth.DRIFTING if lacking <= _DRIFTING else ChipHealth.BAD


def health_by_prediction(prediction: Prediction) -> ChipHealth:
    """Return the health of a chip by the accuracy that it is predicted to have lost.

    A good chip has probably lost less than two points, and hardly five.
    """
    if prediction.points >= _BAD_POINTS:
        return ChipHealth.BAD
    good = prediction.points < _GOOD_POINTS and prediction.high < _SURELY_POINTS
    return ChipHealth.GOOD if good else ChipHealth.DRIFTING


def worse(one: ChipHealth, other: ChipHealth) -> ChipHealth:
    """Return the worse of two findings about one chip; UNKNOWN only where both are unknown."""
    known = [health for health in (one, other) if health in _ORDER]
    return max(known, key=_ORDER.index) if known else ChipHealth.UNKNOWN
