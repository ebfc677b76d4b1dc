"""From a chip's settings to its spec."""

import pytest
from pydantic import ValidationError

from chip_sim.errors import UnknownPresetError
from chip_sim.presets import preset
from ltl_core.errors import CapacityError, UnsupportedLayerError
from ltl_core.network.layers import Add, Linear
from ltl_core.network.spec import NetworkSpec
from service.bench.simulated import check_fit, spec_of


def network(*layers: Linear | Add) -> NetworkSpec:
    return NetworkSpec(input_shape=(8,), layers=layers)


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


def test_a_network_that_needs_more_tiles_does_not_fit() -> None:
    spec = spec_of({"preset": "pcm", "seed": 1})
    one_tile = spec.model_copy(update={"tiles": 1})
    check_fit(network(Linear(name="readout", in_features=8, out_features=2)), one_tile)
    wide = network(Linear(name="readout", in_features=8, out_features=spec.tile_columns + 1))
    with pytest.raises(CapacityError):
        check_fit(wide, one_tile)


def test_a_network_with_a_residual_addition_does_not_fit() -> None:
    residual = network(
        Linear(name="a", in_features=8, out_features=8),
        Linear(name="b", in_features=8, out_features=8, fires=False),
        Add(name="sum", inputs=("a", "b")),
        Linear(name="readout", in_features=8, out_features=2),
    )
    with pytest.raises(UnsupportedLayerError, match="sum"):
        check_fit(residual, spec_of({"preset": "pcm", "seed": 1}))
