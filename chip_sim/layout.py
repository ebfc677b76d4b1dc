"""The layers of a network as they are placed on a chip, before anything is written."""

import torch

from chip_sim.cells import Cells
from chip_sim.flicker_noise import FlickerNoise
from chip_sim.identity import layer_identity
from chip_sim.layer import PlacedLayer, Trims
from chip_sim.spec import ChipSpec
from chip_sim.tiling import Tiling, lay_out
from chip_sim.tuning import TuningMemory
from ltl_core.chip import Placement
from ltl_core.network.stages import Stage


def fresh_layers(
    placement: Placement, spec: ChipSpec, seed: int, tuning: TuningMemory
) -> dict[str, PlacedLayer]:
    """Return the layers with codes and trims at zero, tuned as the tiles underneath are."""
    tilings = lay_out(placement.network, spec)
    return {
        stage.name: PlacedLayer(
            stage,
            placement.layers[stage.name],
            tilings[stage.name],
            layer_identity(spec, seed, tilings[stage.name]),
            Cells.never_written(stage.columns, stage.rows),
            Trims(*(torch.zeros(stage.columns, dtype=torch.int32),) * 2),
            tuning.of(tilings[stage.name]),
            _flicker(stage, tilings[stage.name], seed),
        )
        for stage in placement.network.stages
    }


def _flicker(stage: Stage, tiling: Tiling, seed: int) -> FlickerNoise:
    return FlickerNoise(seed, tiling.regions[0].tile, (2 * stage.columns * stage.rows,))
