"""Writes devices: pulse, read, pulse again until within tolerance or out of pulses."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from chip_sim.devices.device import DeviceModel, normal
from chip_sim.spec import WriteSpec


class Fault(NamedTuple):
    """Which devices are stuck, and at which conductance."""

    stuck: Bool[Tensor, "*shape"]
    g: Float[Tensor, "*shape"]  # S


class Written(NamedTuple):
    """What the pulses have made of the devices."""

    g: Float[Tensor, " device"]  # S
    pulses: Int[Tensor, " device"]
    failed: Bool[Tensor, " device"]  # not within tolerance; false after a blind pulse


def write(
    g_target: Float[Tensor, " device"],
    fault: Fault,
    model: DeviceModel,
    spec: WriteSpec,
    rng: torch.Generator,
) -> Written:
    """Program each device towards its target, S.

    A pulse lands at N(target, sigma), not below zero. A device whose error exceeds the tolerance
    gets another one: accepted errors are those of a normal distribution cut off at the tolerance.
    """
    sigma = model.programming_noise(g_target)
    tolerance = _tolerance(sigma, spec)
    g = torch.zeros_like(g_target)
    pulses = torch.zeros_like(g_target, dtype=torch.int32)
    open_ = torch.ones_like(g_target, dtype=torch.bool)
    for _ in range(spec.pulses_max):
        landed = (g_target + sigma * normal(g_target, rng)).clamp(min=0)
        g = torch.where(open_, torch.where(fault.stuck, fault.g, landed), g)
        pulses += open_
        open_ = open_ & ((g - g_target).abs() > tolerance)
        if not open_.any():
            break
    return Written(g, pulses, open_)


def _tolerance(sigma: Float[Tensor, " device"], spec: WriteSpec) -> Float[Tensor, " device"]:
    if spec.tolerance_sigma is not None:
        return sigma * spec.tolerance_sigma
    if spec.tolerance_siemens is not None:
        return torch.full_like(sigma, spec.tolerance_siemens)
    return torch.full_like(sigma, torch.inf)
