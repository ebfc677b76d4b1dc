"""When a version has lost a point, by the law of drift and by probes of the chip."""

import math
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ltl_core.calibration.prediction import Correction, LossCurve, Observation
from ltl_core.calibration.shelf_life import (
    DEFAULT_CURVE,
    DEFAULT_RATE,
    LONGEST_S,
    ChipDrift,
    LogNormal,
    ProbePoint,
    Span,
    Validity,
    cells_age,
    chip_drift,
    fleet_rate,
    validity,
)
from ltl_core.errors import ShelfLifeError

HOUR, DAY = 3600.0, 86_400.0
CURVE = LossCurve((0.0, 0.5, 1.0, 1.5), (0.0, 0.2, 3.0, 30.0), spread=0.4)
PRECISE = 1e-6


@dataclass
class Law:
    """A chip that follows the law, with this rate and factor."""

    rate: float = 0.13
    factor: float = 1.0

    def probe(self, age_s: float, span: Span | None = None, error: float = 0.3) -> ProbePoint:
        span = span or Span()
        score = math.hypot(span.score, self.rate * span.growth(age_s))
        lost = self.factor * CURVE.points_at(score)
        return ProbePoint(span, age_s, score, Observation(lost, error))

    def end(self, span: Span | None = None) -> float:
        """The age at which one point is lost, by bisection."""
        low, high = 0.0, LONGEST_S
        for _ in range(200):
            middle = (low + high) / 2
            score = self.probe(middle, span).score
            lost = self.factor * CURVE.points_at(score)
            low, high = (low, middle) if lost >= 1.0 else (middle, high)
        return high


def known(rate: float, factor: float = 1.0) -> ChipDrift:
    return ChipDrift(LogNormal(rate, PRECISE), LogNormal(factor, PRECISE))


@pytest.mark.parametrize("span", [Span(), Span(DAY, DAY + 60.0, 0.2)])
@pytest.mark.parametrize("law", [Law(), Law(0.1), Law(0.13, 2.0)])
def test_a_chip_that_is_known_ends_when_the_law_says(law: Law, span: Span) -> None:
    found = validity(known(law.rate, law.factor), CURVE, span)
    assert found == pytest.approx([law.end(span)] * 3, rel=1e-3)


def test_ten_per_cent_more_drift_would_be_seen() -> None:
    found = validity(known(1.1 * Law().rate), CURVE)
    assert found.age_s != pytest.approx(Law().end(), rel=0.3)


@pytest.mark.parametrize("law", [Law(0.13), Law(0.13, 0.5), Law(0.07, 2.0)])
@pytest.mark.parametrize("ages", [(HOUR, 3 * HOUR, 6 * HOUR), (600.0, HOUR, DAY, 7 * DAY)])
def test_the_interval_holds_the_end_of_a_chip_that_was_probed(
    law: Law, ages: tuple[float, ...]
) -> None:
    points = [law.probe(age) for age in ages]
    found = validity(chip_drift(points, CURVE), CURVE)
    assert found.low_s < law.end() < found.high_s


def test_another_chips_probes_do_not_hold_it() -> None:
    points = [Law(0.05).probe(age) for age in (HOUR, DAY, 7 * DAY)]
    assert validity(chip_drift(points, CURVE), CURVE).low_s > Law(0.13).end()


def test_probes_narrow_the_interval_and_late_ones_most() -> None:
    def width(*ages: float) -> float:
        points = [Law().probe(age) for age in ages]
        found = validity(chip_drift(points, CURVE), CURVE)
        return math.log(found.high_s / found.low_s)

    assert width() > width(600.0) > width(DAY)


def test_many_probes_do_not_make_the_law_exact() -> None:
    drift = chip_drift([Law().probe(DAY + second, error=1e-3) for second in range(50)], CURVE)
    assert drift.rate.spread > 0.1
    assert drift.factor.spread > 0.2


def test_without_probes_the_priors_stay() -> None:
    corrected = Correction(2.0, 0.3)
    found = chip_drift([], CURVE, corrected, LogNormal(0.2, 0.3))
    assert found.rate == (0.2, 0.3)
    assert found.factor == pytest.approx((2.0, 1.5 * 0.3), rel=0.01)
    default = validity(chip_drift([], DEFAULT_CURVE), DEFAULT_CURVE)
    assert default.low_s < HOUR
    assert default.high_s > 30 * DAY


def test_probes_of_an_earlier_version_tell_of_a_fresh_one() -> None:
    law, kept = Law(0.1), Span(cells_s=30 * DAY)
    drift = chip_drift([law.probe(DAY), law.probe(7 * DAY)], CURVE)
    fresh, aged = validity(drift, CURVE), validity(drift, CURVE, kept)
    assert fresh.low_s < law.end() < fresh.high_s
    assert aged.low_s > fresh.low_s  # its cells were not written: they have drifted already


def test_a_score_at_publication_says_nothing_of_the_rate() -> None:
    assert chip_drift([ProbePoint(Span(), 0.0, 0.0)], CURVE).rate == DEFAULT_RATE


def test_a_chip_that_does_not_move_holds_for_long() -> None:
    points = [ProbePoint(Span(), age, 0.0) for age in (HOUR, DAY, 30 * DAY)]
    found = validity(chip_drift(points, CURVE), CURVE)
    assert found == (LONGEST_S, LONGEST_S, LONGEST_S)


def test_a_compensation_that_left_a_point_has_ended_already() -> None:
    span = Span(began_s=DAY, cells_s=DAY, score=1.2)
    assert validity(known(0.13), CURVE, span) == (DAY, DAY, DAY)


def test_cells_that_were_not_written_keep_their_age() -> None:
    assert cells_age(DAY, 0.0) == pytest.approx(DAY)
    assert cells_age(DAY, 1.0) == cells_age(DAY, 3.0) == pytest.approx(60.0)
    ages = [cells_age(30 * DAY, writes) for writes in (0.0, 0.01, 0.1, 0.44, 0.9)]
    assert ages == sorted(ages, reverse=True)
    share = Span(cells_s=ages[3]).growth(DAY) / Span().growth(DAY)
    assert share == pytest.approx(math.sqrt(0.44), abs=0.01)  # of the drift of fresh cells


def test_other_chips_of_a_fleet_tell_of_one_more() -> None:
    assert fleet_rate([]).median == pytest.approx(DEFAULT_RATE.median)
    few, many = fleet_rate([0.14]), fleet_rate([0.14] * 20)
    assert DEFAULT_RATE.median < few.median < many.median < 0.14
    assert DEFAULT_RATE.spread > few.spread > many.spread > 0.2


RATES = st.floats(min_value=1e-6, max_value=100.0)
SPREADS = st.floats(min_value=0.0, max_value=3.0)
SPANS = st.builds(
    Span,
    st.floats(min_value=0.0, max_value=LONGEST_S),
    st.floats(min_value=1.0, max_value=LONGEST_S),
    st.floats(min_value=0.0, max_value=3.0),
)


@settings(deadline=None, max_examples=25)
@given(RATES, st.floats(min_value=1.01, max_value=100.0), SPREADS, SPREADS, SPANS)
def test_more_drift_never_holds_longer(
    rate: float, more: float, of_rate: float, of_factor: float, span: Span
) -> None:
    factor = LogNormal(1.0, of_factor)
    slow, fast = (
        validity(ChipDrift(LogNormal(k, of_rate), factor), CURVE, span) for k in (rate, more * rate)
    )
    assert all(one <= other for one, other in zip(fast, slow, strict=True))


AGES = st.floats(min_value=0.0, max_value=LONGEST_S)
SCORES = st.floats(min_value=0.0, max_value=10.0)
OBSERVED = st.builds(
    Observation,
    st.floats(min_value=-100.0, max_value=100.0),
    st.floats(min_value=0.1, max_value=50.0),
)
POINTS = st.lists(st.builds(ProbePoint, SPANS, AGES, SCORES, st.none() | OBSERVED), max_size=5)


@settings(deadline=None, max_examples=25)
@given(POINTS, SPANS)
def test_the_bounds_are_finite_and_in_order(points: list[ProbePoint], span: Span) -> None:
    found = validity(chip_drift(points, CURVE), CURVE, span)
    assert 0.0 <= found.low_s <= found.age_s <= found.high_s <= LONGEST_S


def test_a_validity_is_kept_as_json() -> None:
    kept = Validity(1000.0, 10.0, LONGEST_S)
    assert Validity.from_json(kept.to_json()) == kept
    for wrong in ({}, {"age_s": "soon", "low_s": 0, "high_s": 1}):
        with pytest.raises(ShelfLifeError):
            Validity.from_json(wrong)
