"""Matrix products on the torch tiles of aihwkit, between its converters."""

import torch
import torch.nn.functional as F
from aihwkit.simulator.configs import TorchInferenceRPUConfig
from aihwkit.simulator.parameters.enums import BoundManagementType, NoiseManagementType
from aihwkit.simulator.tiles.torch_tile import TorchSimulatorTile
from torch import Tensor

from aihwkit_chip.settings import ChipSettings
from tandemcal.network import Conv2d, Stage

TILE = 256  # rows and columns of one tile
VALUES_AT_ONCE = 2**22  # that a product holds in memory


def column_sums(
    stage: Stage, weight: Tensor, signal: Tensor, full_scale: float, settings: ChipSettings
) -> Tensor:
    """Return what the converters say at every step, [time, batch, *output].

    Weights are fractions of the largest, and the signal [time, batch, *source] of the full input;
    `full_scale` is the largest sum that a converter resolves.
    """
    vectors = _vectors(stage, signal)
    config = _config(full_scale, settings)
    tiles = [_tile(part, config) for part in weight.split(TILE, dim=1)]
    size = max(1, VALUES_AT_ONCE // max(stage.rows, stage.columns))
    parts = []
    with torch.no_grad():
        for some in vectors.split(size):
            rows = some.split(TILE, dim=1)
            # The sums of the tiles below each other are added behind the converters.
            sums = [tile(part, is_test=True) for tile, part in zip(tiles, rows, strict=True)]
            parts.append(torch.stack(sums).sum(0))
    found = torch.cat(parts).view(*signal.shape[:2], -1, stage.columns)
    return found.movedim(3, 2).reshape(*signal.shape[:2], *stage.output_shape)


def _vectors(stage: Stage, signal: Tensor) -> Tensor:
    """Return what the columns see, [time * batch * position, row]."""
    flat = signal.flatten(0, 1)
    for pool in stage.pools:
        flat = F.avg_pool2d(flat, pool.kernel, pool.stride)
    if isinstance(stage.layer, Conv2d):
        kind = stage.layer
        flat = F.unfold(flat, kind.kernel, 1, kind.padding, kind.stride).transpose(1, 2)
    return flat.reshape(-1, stage.rows)


def _tile(weight: Tensor, config: TorchInferenceRPUConfig) -> TorchSimulatorTile:
    tile = TorchSimulatorTile(weight.shape[1], weight.shape[0], config)
    tile.set_weights(weight)
    return tile


def _config(full_scale: float, settings: ChipSettings) -> TorchInferenceRPUConfig:
    """Set the converters up: fixed ranges, as a chip with registers has."""
    config = TorchInferenceRPUConfig()
    io = config.forward
    io.inp_res, io.out_res = 1 / (2**settings.dac_bits - 2), 1 / (2**settings.adc_bits - 2)
    io.inp_bound, io.out_bound, io.out_noise = 1.0, full_scale, settings.output_noise
    io.noise_management, io.bound_management = NoiseManagementType.NONE, BoundManagementType.NONE
    return config
