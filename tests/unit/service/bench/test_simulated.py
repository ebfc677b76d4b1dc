"""From a chip's settings to its spec."""

import pytest
from pydantic import ValidationError

from chip_sim.errors import UnknownPresetError
from chip_sim.presets import preset
from service.bench.simulated import spec_of


def test_changes_are_laid_over_the_preset() -> None:
    spec = spec_of({"preset": "pcm", "seed": 1, "overrides": {"converter": {"adc_bits": 6}}})
    assert spec.converter.adc_bits == 6
    assert spec.converter.gain_sd == preset("pcm").converter.gain_sd


def test_a_chip_of_the_fleet_outlives_its_published_data() -> None:
    assert preset("reram").device.after_data == "refuse"
    assert spec_of({"preset": "reram", "seed": 1}).device.after_data == "hold"


def test_unknown_names_are_refused() -> None:
    with pytest.raises(UnknownPresetError, match="hermes"):
        spec_of({"preset": "fluffy", "seed": 1})
    with pytest.raises(ValidationError, match="adcs"):
        spec_of({"preset": "pcm", "seed": 1, "overrides": {"adcs": {}}})
