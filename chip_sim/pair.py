"""A weight is two devices: the difference of their conductances, in the chip's integer codes.

The first axis of a pair is the device: 0 is plus, 1 is minus.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from chip_sim.spec import DeviceSpec

# Weights are resolved to 2^-10 code. A column sum is then exact in single precision, so it is the
# same number whatever the order of its terms: on one thread or two, in one library or another.
_RESOLUTION = 1024.0


def g_target(
    codes: Int[Tensor, "column row"], device: DeviceSpec, code_max: int
) -> Float[Tensor, "2 column row"]:
    """plus = g_min + (g_max - g_min) max(c, 0) / c_max; minus likewise with max(-c, 0)."""
    magnitudes = torch.stack((codes, -codes)).clamp(min=0).to(torch.float32)
    return device.g_min + (device.g_max - device.g_min) * magnitudes / code_max


def weight(
    g: Float[Tensor, "2 column row"], device: DeviceSpec, code_max: int
) -> Float[Tensor, "column row"]:
    """(plus - minus) c_max / (g_max - g_min): the weight in code units."""
    per_siemens = code_max / (device.g_max - device.g_min)
    return ((g[0] - g[1]) * (per_siemens * _RESOLUTION)).round() / _RESOLUTION


def read_noise(device: DeviceSpec, code_max: int) -> float:
    """Standard deviation of one weight in one multiply, code units: two devices' noise."""
    return 2**0.5 * device.read_noise * device.g_max * code_max / (device.g_max - device.g_min)
