"""A weight as a pair of devices: the difference of their conductances, in integer codes.

The first axis of a pair is the device: 0 is plus, 1 is minus.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from chip_sim.spec import DeviceSpec

# Weights are resolved to 2^-10 code. A column sum of spikes is then exact in single precision, so
# it is the same number whatever the order of its terms: on one thread or two, in one library or
# another. Analog codes leave fewer digits to the weights.
RESOLUTION = 2.0**-10
RESOLUTION_ANALOG = 2.0**-5


def g_target(
    codes: Int[Tensor, "column row"], device: DeviceSpec, code_max: int
) -> Float[Tensor, "2 column row"]:
    """Return the target conductances of the codes, S.

    plus = g_min + (g_max - g_min) max(c, 0) / c_max; minus is the same with max(-c, 0).
    """
    magnitudes = torch.stack((codes, -codes)).clamp(min=0).to(torch.float32)
    return device.g_min + (device.g_max - device.g_min) * magnitudes / code_max


def weight(
    g: Float[Tensor, "2 column row"], device: DeviceSpec, code_max: int
) -> Float[Tensor, "column row"]:
    """Return (plus - minus) c_max / (g_max - g_min): the weight in code units."""
    per_siemens = code_max / (device.g_max - device.g_min)
    return _resolved((g[0] - g[1]) * per_siemens, RESOLUTION)


def for_analog_codes(weight: Float[Tensor, "column row"]) -> Float[Tensor, "column row"]:
    """Return the weights in the coarser steps of 2^-5 code that analog codes need.

    They are far below the errors of programming and reading.
    """
    return _resolved(weight, RESOLUTION_ANALOG)


def _resolved(weight: Float[Tensor, "column row"], step: float) -> Float[Tensor, "column row"]:
    return (weight * (1 / step)).round_().mul_(step)


def read_noise(device: DeviceSpec, code_max: int) -> float:
    """Return the standard deviation of one weight in one multiply, code units: of two devices."""
    return 2**0.5 * device.read_noise * device.g_max * code_max / (device.g_max - device.g_min)
