"""The weight map: the tile that differs most, its bins, and a figure for each layer."""

import json

import pytest
import torch

from ltl_core.calibration.weight_map import BINS, weight_differences, weight_map
from ltl_core.chip import ChipInfo, LayerCodes, Observable

INFO = ChipInfo("sn-7", "lab", 100, 50, 2, 7, -8, 7, 0.1, frozenset(Observable), 1e-6, None)


def test_the_tile_that_differs_most_is_shown() -> None:
    differences = {"first": torch.zeros(60, 230), "second": torch.zeros(10, 10)}
    differences["first"][55, 210] = 4.0
    found = weight_map(differences, INFO)
    tile = found.tile
    assert (tile.layer, tile.first_column, tile.first_row) == ("first", 50, 200)
    assert (tile.columns, tile.rows) == (10, 30)
    assert (tile.bin_columns, tile.bin_rows) == (1, 1)
    assert float(tile.bins[5, 10]) == 4.0
    assert int(tile.bins.count_nonzero()) == 1
    assert found.layers == {"first": pytest.approx(4 / (60 * 230) ** 0.5), "second": 0.0}


def test_a_bin_holds_the_root_mean_square_of_its_own_cells() -> None:
    differences = torch.zeros(50, 99)
    differences[0, 0], differences[0, 1] = 3.0, -4.0
    differences[49, 98] = 1.0  # alone in its bin of rows, with one other column
    tile = weight_map({"layer": differences}, INFO).tile
    assert (tile.bin_columns, tile.bin_rows) == (2, 4)
    assert tile.bins.shape == (25, 25)
    assert max(tile.bins.shape) <= BINS
    assert float(tile.bins[0, 0]) == pytest.approx((25 / 8) ** 0.5)
    assert float(tile.bins[24, 24]) == pytest.approx((1 / 6) ** 0.5)


def test_a_map_is_small_as_json() -> None:
    whole = weight_map({"layer": 9 * torch.randn(256, 256)}, INFO._replace(tile_columns=256))
    text = json.dumps(whole.to_json())
    assert json.loads(text)["tile"]["bins"][0][0] == round(100 * float(whole.tile.bins[0, 0]))
    assert len(text) < 6000


def test_nothing_is_no_map() -> None:
    with pytest.raises(ValueError, match="no layer"):
        weight_map({}, INFO)


@pytest.mark.parametrize("kind", [torch.int8, torch.int16, torch.float32])
def test_weights_in_codes_or_not_are_compared_with_codes(kind: torch.dtype) -> None:
    """Codes are integers: the map of a real chip is of the codes that it holds."""
    codes = LayerCodes(
        torch.full((4, 6), 7, dtype=torch.int16), torch.zeros(4).short(), torch.zeros(4).short()
    )
    found = weight_differences({"layer": torch.full((4, 6), 5, dtype=kind)}, {"layer": codes})
    assert torch.equal(found["layer"], torch.full((4, 6), -2.0))
    assert weight_map(found, INFO).layers == {"layer": 2.0}
