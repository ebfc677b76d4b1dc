"""The sparkline of a chip's last drift scores."""

from service.formatting import score_text
from service.jobs.kinds import probe
from service.web.fleet.drift import sparkline


def test_scores_rise_from_left_to_right() -> None:
    drawn = sparkline([0.0, 0.5, 2.0])
    assert drawn is not None
    assert drawn.path == "3.0,21.0 40.0,16.5 77.0,3.0"
    assert drawn.end == (77.0, 3.0)
    assert drawn.sentence.endswith("last 3 probes: 0.00, 0.50, 2.00")


def test_noise_stays_flat() -> None:
    drawn = sparkline([0.01, 0.02])
    assert drawn is not None
    heights = [float(point.split(",")[1]) for point in drawn.path.split()]
    assert max(heights) - min(heights) < 1  # px


def test_one_probe_is_no_curve() -> None:
    assert sparkline([]) is None
    assert sparkline([0.3]) is None


def test_a_score_that_is_not_known_is_a_dash() -> None:
    assert score_text(None) == "–"
    assert "no fingerprint" in probe.outcome({"score": None, "health": "unknown"})
    assert probe.outcome({"score": 0.934, "health": "drifting"}) == (
        "drift score 0.93, the chip is drifting"
    )
