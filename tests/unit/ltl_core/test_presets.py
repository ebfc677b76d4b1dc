"""The presets say what the papers say."""

import pytest

from ltl_core.presets import PRESETS, PresetName
from ltl_core.settings import Scales, TrainingSettings


@pytest.mark.parametrize(
    ("name", "rates"),
    [
        ("ltl-offline-vgg11", {0: 1, 9: 1, 10: 0.5, 49: 0.5**4, 50: 0.5**5, 99: 0.5**7}),
        ("ltl-online-vgg16", {0: 1, 10: 0.2, 14: 0.2, 15: 0.04, 49: 0.2**8}),
    ],
)
def test_rates_fall_in_the_published_steps(name: str, rates: dict[int, float]) -> None:
    settings = PRESETS[PresetName(name)].settings
    assert {epoch: settings.rate_fraction(epoch) for epoch in rates} == pytest.approx(rates)
    assert settings.learning_rate == 1e-4
    assert settings.scales is Scales.BATCH


def test_rate_falls_to_zero_without_milestones() -> None:
    settings = TrainingSettings(epochs=4)
    assert [settings.rate_fraction(done) for done in (0, 1, 1.5, 3.75)] == [1, 0.75, 0.625, 0.0625]
