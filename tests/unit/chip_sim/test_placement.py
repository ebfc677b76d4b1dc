"""Which networks and register values a chip refuses, and a placement as JSON."""

import math

import pytest

from chip_sim.placement import (
    check_network,
    check_placement,
    placement_from_json,
    placement_to_json,
)
from chip_sim.presets import preset
from ltl_core.chip import LayerSettings, Placement
from ltl_core.errors import CapacityError, SettingError, UnsupportedLayerError
from ltl_core.network.layers import Add, Linear
from ltl_core.network.spec import NetworkSpec

SPEC = preset("pcm")


def network(*layers: Linear | Add) -> NetworkSpec:
    return NetworkSpec(input_shape=(8,), layers=layers)


def test_a_network_that_needs_more_tiles_does_not_fit() -> None:
    one_tile = SPEC.model_copy(update={"tiles": 1})
    check_network(network(Linear(name="readout", in_features=8, out_features=2)), one_tile)
    wide = network(Linear(name="readout", in_features=8, out_features=SPEC.tile_columns + 1))
    with pytest.raises(CapacityError):
        check_network(wide, one_tile)


def test_a_network_with_a_residual_addition_does_not_fit() -> None:
    residual = network(
        Linear(name="a", in_features=8, out_features=8),
        Linear(name="b", in_features=8, out_features=8, fires=False),
        Add(name="sum", inputs=("a", "b")),
        Linear(name="readout", in_features=8, out_features=2),
    )
    with pytest.raises(UnsupportedLayerError, match="sum"):
        check_network(residual, SPEC)


@pytest.mark.parametrize(
    "change",
    [
        {"threshold": 0.0},
        {"full_scale": -1.0},
        {"decay": 1.1},
        {"window": -1.0},
        {"decay": math.nan},
    ],
)
def test_register_values_that_no_circuit_takes_are_refused(change: dict[str, float]) -> None:
    one = network(Linear(name="readout", in_features=8, out_features=2))
    settings = LayerSettings(threshold=60.0, decay=0.9, window=20.0, full_scale=240.0)
    check_placement(Placement(one, {"readout": settings}, 1.0), SPEC)
    wrong = settings._replace(**change)
    with pytest.raises(SettingError, match="readout"):
        check_placement(Placement(one, {"readout": wrong}, 1.0), SPEC)


def test_a_placement_keeps_every_bit_in_json() -> None:
    one = network(Linear(name="readout", in_features=8, out_features=2))
    settings = LayerSettings(threshold=0.1, decay=math.exp(-0.1), window=1 / 3, full_scale=240.7)
    placement = Placement(one, {"readout": settings}, 1 / 7)
    assert placement_from_json(placement_to_json(placement)) == placement
