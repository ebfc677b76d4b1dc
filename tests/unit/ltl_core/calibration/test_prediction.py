"""What a drift score means in points: the curve, its interval, and what narrows it."""

import math

import pytest

from ltl_core.calibration.prediction import (
    LossCurve,
    Observation,
    Outcome,
    Prediction,
    correction,
    predicted_loss,
)
from ltl_core.errors import LossCurveError

CURVE = LossCurve((0.0, 0.5, 1.0, 1.5), (0.0, 0.0, 4.0, 40.0), spread=0.4)
SURE = CURVE._replace(spread=0.1)


def test_the_curve_goes_through_its_points_and_ends_with_the_last() -> None:
    assert [CURVE.points_at(score) for score in (0.0, 0.5, 1.0, 1.5, 9.0)] == pytest.approx(
        [0.0, 0.0, 4.0, 40.0, 40.0]
    )
    assert CURVE.points_at(0.75) == pytest.approx(math.sqrt(0.5 * 4.5) - 0.5)


@pytest.mark.parametrize("points", [0.5, 1.0, 4.0, 39.0])
def test_a_loss_is_found_at_the_score_that_it_is_predicted_for(points: float) -> None:
    score = CURVE.score_at(points)
    assert score is not None
    assert CURVE.points_at(score) == pytest.approx(points)


def test_a_loss_beyond_the_curve_is_at_no_score() -> None:
    assert CURVE.score_at(41.0) is None
    assert CURVE.score_at(0.0) == 0.0


def test_the_interval_holds_ninety_per_cent_of_what_the_spread_allows() -> None:
    found = predicted_loss(CURVE, 1.0)
    factor = math.exp(1.645 * CURVE.spread)
    assert found.points == pytest.approx(4.0, abs=0.05)
    assert (found.low + 0.5, found.high + 0.5) == pytest.approx(
        (4.5 / factor, 4.5 * factor), rel=0.02
    )


def test_nothing_is_predicted_below_zero_or_above_a_hundred() -> None:
    assert predicted_loss(CURVE, 0.0).low == 0.0
    assert predicted_loss(CURVE._replace(spread=1.0), 1.5) == pytest.approx((40, 7.3, 100), abs=0.3)


def test_an_observation_counts_by_its_error() -> None:
    by_curve = predicted_loss(CURVE, 1.0)
    exact = predicted_loss(CURVE, 1.0, observed=Observation(2.0, 0.1))
    vague = predicted_loss(CURVE, 1.0, observed=Observation(2.0, 50.0))
    assert exact == pytest.approx((2.0, 1.83, 2.17), abs=0.05)
    assert vague == pytest.approx(by_curve, abs=0.05)


def test_a_curve_that_is_sure_is_moved_less() -> None:
    observed = Observation(2.0, 1.0)
    moved = [
        by_curve.points_at(1.0) - predicted_loss(by_curve, 1.0, observed=observed).points
        for by_curve in (CURVE, SURE)
    ]
    assert moved[0] > 3 * moved[1] > 0


def test_the_loss_since_an_observation_carries_both_errors() -> None:
    since = Observation(5.0, 0.4).since(Observation(1.0, 0.3))
    assert since == pytest.approx((4.0, 0.5))


def test_no_outcome_corrects_nothing() -> None:
    assert correction(CURVE, [], []) == (1.0, CURVE.spread)


def test_other_chips_teach_the_factor_and_leave_the_spread() -> None:
    outcomes = [Outcome(4.0, 8.5)] * 30
    factor, spread = correction(CURVE, outcomes, [])
    assert factor == pytest.approx(2.0, rel=0.05)
    assert spread == CURVE.spread
    assert 1.0 < correction(CURVE, outcomes[:1], []).factor < 1.5


def test_the_chip_itself_teaches_faster_and_narrows_the_interval() -> None:
    outcome = Outcome(4.0, 8.5)
    own, other = correction(CURVE, [], [outcome]), correction(CURVE, [outcome], [])
    assert own.factor > other.factor
    assert own.spread < CURVE.spread
    corrected = predicted_loss(CURVE, 1.0, own)
    assert corrected.points == pytest.approx(4.0 * own.factor, rel=0.02)


def test_losses_within_their_sampling_error_teach_little() -> None:
    assert correction(CURVE, [], [Outcome(0.0, 0.4)]).factor < 1.2
    assert correction(CURVE, [], [Outcome(0.0, -0.4)]) == pytest.approx((1.0, 0.4), abs=0.1)


def test_a_curve_survives_json() -> None:
    assert LossCurve.from_json(CURVE.to_json()) == CURVE


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"scores": [0.0], "points": [0.0]},
        {"scores": [], "points": [], "spread": 0.1},
        {"scores": [0.0, 1.0], "points": [0.0], "spread": 0.1},
        {"scores": "many", "points": [0.0], "spread": 0.1},
    ],
)
def test_a_curve_that_cannot_be_read_is_an_error(data: dict[str, object]) -> None:
    with pytest.raises(LossCurveError, match="loss curve"):
        LossCurve.from_json(data)


def test_a_prediction_names_its_parts() -> None:
    assert Prediction(3.0, 1.0, 6.0)._asdict() == {"points": 3.0, "low": 1.0, "high": 6.0}
