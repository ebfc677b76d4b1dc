"""The drop along a column's wire, against Kirchhoff's laws solved as a matrix."""

import pytest
import torch

from chip_sim.chip import make_chip
from chip_sim.presets import preset
from chip_sim.spec import ChipSpec, WireSpec
from chip_sim.tiling import tile_stage
from chip_sim.wire import seen_through_wire
from ltl_core.network.layers import Linear
from ltl_core.network.spec import NetworkSpec
from tests.unit.chip_sim.conftest import Build

ROWS = 40
SPEC = ChipSpec(tile_rows=25)
LAYERS = (Linear(name="only", in_features=ROWS, out_features=3),)
TILING = tile_stage(NetworkSpec(input_shape=(ROWS,), layers=LAYERS).stages[0], SPEC, 0)


def devices() -> torch.Tensor:
    return torch.rand(2, 3, ROWS, generator=torch.Generator().manual_seed(1)) * 25e-6


def kirchhoff(g: torch.Tensor, segment: float) -> torch.Tensor:
    """Return the current at the end of a wire for one volt on each row alone, by nodal analysis."""
    rows, wire = len(g), 1 / segment
    nodes = torch.diag(g.double())
    for k in range(rows):
        nodes[k, k] += wire * (2 if k + 1 < rows else 1)
        if k + 1 < rows:
            nodes[k, k + 1] = nodes[k + 1, k] = -wire
    voltages = torch.linalg.solve(nodes, torch.diag(g.double()))
    return voltages[0] * wire


@pytest.mark.parametrize("segment", [0.1, 10.0, 1000.0])
def test_column_currents_solve_the_ladder(segment: float) -> None:
    g = devices()
    seen = seen_through_wire(g, TILING, segment)
    off = seen_through_wire(g, TILING, segment * 1.05)
    for pair in range(2):
        for column in range(3):
            for rows in TILING.row_blocks:
                right = kirchhoff(g[pair, column, rows], segment).float()
                torch.testing.assert_close(seen[pair, column, rows], right, rtol=1e-4, atol=1e-12)
                drop, wrong = (g - seen)[pair, column, rows], (g - off)[pair, column, rows]
                assert not torch.allclose(drop.sum(), wrong.sum(), rtol=0.005, atol=0)


def test_without_resistance_nothing_drops() -> None:
    assert torch.equal(seen_through_wire(devices(), TILING, 0.0), devices())


def test_named_chips_have_perfect_wires(build: Build) -> None:
    assert preset("harsh").wire.segment == 0
    chip = build(preset("ideal").model_copy(update={"wire": WireSpec(segment=2000.0)}))
    weak, full = chip.weights("third"), build(preset("ideal")).weights("third")
    assert float(weak.abs().sum()) < 0.9 * float(full.abs().sum())
    assert make_chip("x", preset("ideal"), 1).info.tiles == 64
