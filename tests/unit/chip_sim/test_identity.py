"""A seed makes one chip, and the spread of its imperfections is the one of the spec."""

import math

import pytest
import torch

from chip_sim.converter import AdcBank
from chip_sim.identity import TileIdentity, layer_identity, tile_identity
from chip_sim.presets import preset
from chip_sim.spec import ChipSpec, NeuronSpec
from chip_sim.tiling import lay_out, tile_stage
from ltl_core.network.layers import Linear
from ltl_core.network.spec import NetworkSpec

HARSH = preset("harsh")


@pytest.fixture(scope="module")
def tiles() -> list[TileIdentity]:
    return [tile_identity(HARSH, 3, tile) for tile in range(12)]


def network(rows: int, columns: int) -> NetworkSpec:
    return NetworkSpec(
        input_shape=(rows,),
        layers=(Linear(name="only", in_features=rows, out_features=columns),),
    )


def test_same_seed_same_tile() -> None:
    one, two = tile_identity(HARSH, 3, 9), tile_identity(HARSH, 3, 9)
    assert torch.equal(one.gain, two.gain)
    assert torch.equal(one.neuron.threshold, two.neuron.threshold)


@pytest.mark.parametrize(("seed", "tile"), [(4, 9), (3, 8)])
def test_another_seed_or_place_is_another_tile(seed: int, tile: int) -> None:
    one, two = tile_identity(HARSH, 3, 9), tile_identity(HARSH, seed, tile)
    pair = torch.stack((one.gain.flatten().log(), two.gain.flatten().log()))
    assert abs(float(torch.corrcoef(pair)[0, 1])) < 0.02


def test_one_imperfection_leaves_the_others_as_they_are() -> None:
    more = HARSH.model_copy(update={"neuron": NeuronSpec(dead=0.5)})
    one, two = tile_identity(HARSH, 3, 0), tile_identity(more, 3, 0)
    assert torch.equal(one.gain, two.gain)
    assert torch.equal(one.adc.gain, two.adc.gain)
    assert not torch.equal(one.neuron.dead, two.neuron.dead)


def test_cell_gain_is_lognormal_with_median_one(tiles: list[TileIdentity]) -> None:
    logs = torch.cat([tile.gain.flatten() for tile in tiles]).double().log()
    assert float(logs.mean()) == pytest.approx(0, abs=5 * 0.3 / math.sqrt(logs.numel()))
    assert float(logs.std()) == pytest.approx(0.30, rel=0.015)
    assert float(logs.std()) != pytest.approx(0.30 * 1.05, rel=0.015)


def test_stuck_devices_are_half_at_each_end(tiles: list[TileIdentity]) -> None:
    stuck = torch.cat([tile.fault.stuck.flatten() for tile in tiles])
    high = torch.cat([tile.fault.g.flatten() for tile in tiles])[stuck] > 0
    assert float(stuck.float().mean()) == pytest.approx(0.01, rel=0.04)
    assert float(high.float().mean()) == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize(
    ("part", "sd"), [("threshold", 0.20), ("leak", 0.10), ("reset", 0.10), ("bias", 0.10)]
)
def test_neuron_mismatch_has_its_spread(tiles: list[TileIdentity], part: str, sd: float) -> None:
    values = torch.cat([getattr(tile.neuron, part) for tile in tiles])
    assert float(values.std()) == pytest.approx(sd, rel=4 / math.sqrt(2 * values.numel()))
    assert float(values.mean()) == pytest.approx(0, abs=4 * sd / math.sqrt(values.numel()))


def test_converters_have_their_spread(tiles: list[TileIdentity]) -> None:
    gain = torch.cat([tile.adc.gain for tile in tiles])
    offset = torch.cat([tile.adc.offset_lsb for tile in tiles])
    assert float(gain.std()) == pytest.approx(0.08, rel=0.06)
    assert float(gain.mean()) == pytest.approx(1, abs=0.006)
    assert float(offset.std()) == pytest.approx(2.0, rel=0.06)


def test_dead_neurons_are_as_many_as_asked(tiles: list[TileIdentity]) -> None:
    dead = torch.cat([tile.neuron.dead for tile in tiles]).float()
    assert float(dead.mean()) == pytest.approx(0.02, abs=4 * math.sqrt(0.02 / dead.numel()))


def test_a_layer_takes_each_part_from_the_tile_under_it() -> None:
    spec = HARSH.model_copy(update={"tile_rows": 4, "tile_columns": 3})
    tiling = tile_stage(network(10, 5).stages[0], spec, first=7)
    layer = layer_identity(spec, 1, tiling)
    assert [region.tile for region in tiling.regions] == [7, 8, 9, 10, 11, 12]
    last = tile_identity(spec, 1, 12)
    assert torch.equal(layer.gain[:, 3:, 8:], last.gain[:, :2, :2])
    assert torch.equal(layer.adcs.gain[2, 3:], last.adc.gain[:2])
    assert torch.equal(layer.neuron.leak[3:], tile_identity(spec, 1, 8).neuron.leak[:2])


def test_every_layer_begins_on_a_fresh_tile() -> None:
    two = NetworkSpec(
        input_shape=(300,),
        layers=(
            Linear(name="one", in_features=300, out_features=300),
            Linear(name="two", in_features=300, out_features=2),
        ),
    )
    tilings = lay_out(two, ChipSpec())
    assert [region.tile for region in tilings["one"].regions] == [0, 1, 2, 3]
    assert [region.tile for region in tilings["two"].regions] == [4, 5]


def test_columns_of_a_group_share_their_converter() -> None:
    def adc(columns_per_adc: int) -> AdcBank:
        changes = {"columns_per_adc": columns_per_adc, "inl_sd_lsb": 1.5}
        converter = HARSH.converter.model_copy(update=changes)
        return tile_identity(HARSH.model_copy(update={"converter": converter}), 3, 0).adc

    for part in adc(8):
        groups = part.view(-1, 8)
        assert torch.equal(groups, groups[:, :1].expand(-1, 8))
        assert len(groups[:, 0].unique()) == 32
    assert len(adc(1).gain.unique()) > 250
    assert float(adc(1).inl_lsb.std()) == pytest.approx(1.5, rel=0.2)
