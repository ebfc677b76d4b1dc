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
    return _conductance(torch.stack((codes, -codes)), device, code_max)


def g_target_of(
    devices: Int[Tensor, " some"],
    codes: Int[Tensor, "column row"],
    device: DeviceSpec,
    code_max: int,
) -> Float[Tensor, " some"]:
    """Return the target conductances of some devices, S, numbered as in [2, column, row]."""
    count = codes.numel()
    code = codes.view(-1)[devices % count]
    return _conductance(torch.where(devices < count, code, -code), device, code_max)


def weight(
    g: Float[Tensor, "2 column row"], device: DeviceSpec, code_max: int
) -> Float[Tensor, "column row"]:
    """Return (plus - minus) c_max / (g_max - g_min): the weight in code units."""
    return weight_of(g[0], g[1], device, code_max)


def weight_of(
    plus: Float[Tensor, "*shape"], minus: Float[Tensor, "*shape"], device: DeviceSpec, code_max: int
) -> Float[Tensor, "*shape"]:
    """Return the weights of pairs of devices, of which both conductances are given, S."""
    per_siemens = code_max / (device.g_max - device.g_min)
    return (plus - minus).mul_(per_siemens / RESOLUTION).round_().mul_(RESOLUTION)


def for_analog_codes(weight: Float[Tensor, "column row"]) -> Float[Tensor, "column row"]:
    """Return the weights in the coarser steps of 2^-5 code that analog codes need.

    They are far below the errors of programming and reading.
    """
    return (weight * (1 / RESOLUTION_ANALOG)).round_().mul_(RESOLUTION_ANALOG)


def _conductance(
    magnitudes: Int[Tensor, "*shape"], device: DeviceSpec, code_max: int
) -> Float[Tensor, "*shape"]:
    wanted = magnitudes.clamp(min=0).to(torch.float32)
    return device.g_min + (device.g_max - device.g_min) * wanted / code_max


def read_noise(device: DeviceSpec, code_max: int) -> float:
    """Return the standard deviation of one weight in one multiply, code units: of two devices."""
    return 2**0.5 * device.read_noise * device.g_max * code_max / (device.g_max - device.g_min)
