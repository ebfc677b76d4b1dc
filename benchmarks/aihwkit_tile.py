"""Layers of IBM's aihwkit, set up like our simulated array, to be timed beside it.

8-bit converters, output noise off, a fixed input range as ours has. Its torch tile knows no noise
on the weights of every multiply.
"""

import torch
from aihwkit.nn import AnalogConv2dMapped, AnalogLinearMapped
from aihwkit.simulator.configs import TorchInferenceRPUConfig
from aihwkit.simulator.parameters.enums import BoundManagementType, NoiseManagementType

from ltl_core.network.layers import Conv2d
from ltl_core.network.stages import Stage

_LEVELS = 2**8 - 2


def torch_tile(stage: Stage, weight: torch.Tensor, tile: int) -> torch.nn.Module:
    """Make one layer on aihwkit tiles of this size. `weight` runs from -1 to 1."""
    config = TorchInferenceRPUConfig()
    io = config.forward
    io.out_noise, io.inp_res, io.out_res = 0.0, 1 / _LEVELS, 1 / _LEVELS
    io.noise_management, io.bound_management = NoiseManagementType.NONE, BoundManagementType.NONE
    config.mapping.max_input_size = config.mapping.max_output_size = tile
    layer = stage.layer
    if isinstance(layer, Conv2d):
        made = AnalogConv2dMapped(
            layer.in_channels,
            layer.out_channels,
            layer.kernel,
            padding=layer.padding,
            bias=False,
            rpu_config=config,
        )
    else:
        made = AnalogLinearMapped(
            layer.in_features, layer.out_features, bias=False, rpu_config=config
        )
    made.set_weights(weight.view(layer.weight_shape))
    evaluated: torch.nn.Module = made.eval()
    return evaluated
