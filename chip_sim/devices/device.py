"""The model of one memory cell: what a write leaves behind, and what time makes of it.

Every random number of a device is drawn when it is written and kept until it is written again, so
that two reads at one instant agree. Time is an argument: seconds since the device's last write.
"""

import math
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor


class DriftDraw(NamedTuple):
    """The random numbers that a write draws for a device: how it will drift."""

    nu: Float[Tensor, "*shape"]  # drift exponent
    wander: Float[Tensor, "*shape"]  # what its slow fluctuation begins with; each model's own unit


class Age(NamedTuple):
    """What time has done to devices since their last write."""

    elapsed: Float[Tensor, "*shape"]  # s
    log_time: Float[Tensor, "*shape"]  # ln(1 + t / t0), scaled by temperature: drift follows it
    flicker: Float[Tensor, "*shape"]  # slow 1/f noise, standard deviation sqrt(ln(1 + t / t0))


@runtime_checkable
class DeviceModel(Protocol):
    """One kind of memory cell.

    A new kind is a file in `chip_sim/devices/`, a name in `DeviceSpec.model` (`chip_sim/spec.py`)
    and a case in `device_model` (`chip_sim/devices/select.py`).
    """

    @property
    def t0(self) -> float:
        """Time of the first read after programming, s: drift and 1/f noise start from it."""
        ...

    @property
    def fluctuates(self) -> bool:
        """Whether there is 1/f noise."""
        ...

    @property
    def known_until(self) -> float:
        """Time after a write up to which data were published, s."""
        ...

    def programming_noise(self, g_target: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Return the standard deviation of one write, S."""
        ...

    def draw_drift(
        self,
        g_target: Float[Tensor, "*shape"],
        g_programmed: Float[Tensor, "*shape"],
        rng: torch.Generator,
    ) -> DriftDraw:
        """Draw how devices that were just written will drift; conductances in S."""
        ...

    def conductance(
        self,
        g_target: Float[Tensor, "*shape"],
        g_programmed: Float[Tensor, "*shape"],
        draw: DriftDraw,
        age: Age,
    ) -> Float[Tensor, "*shape"]:
        """Return the conductance at this age, S."""
        ...


class PerfectDevice:
    """A cell that keeps exactly what was written."""

    t0 = 1.0  # s; nothing depends on it
    fluctuates = False
    known_until = math.inf

    def programming_noise(self, g_target: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Return zero."""
        return torch.zeros_like(g_target)

    def draw_drift(
        self,
        g_target: Float[Tensor, "*shape"],
        g_programmed: Float[Tensor, "*shape"],  # noqa: ARG002
        rng: torch.Generator,  # noqa: ARG002
    ) -> DriftDraw:
        """Return a drift of zero."""
        return DriftDraw(torch.zeros_like(g_target), torch.zeros_like(g_target))

    def conductance(
        self,
        g_target: Float[Tensor, "*shape"],  # noqa: ARG002
        g_programmed: Float[Tensor, "*shape"],
        draw: DriftDraw,  # noqa: ARG002
        age: Age,  # noqa: ARG002
    ) -> Float[Tensor, "*shape"]:
        """Return what was programmed: g(t) = g(0)."""
        return g_programmed


def power_law_drift(
    g: Float[Tensor, "*shape"],
    nu: Float[Tensor, "*shape"],
    log_time: Float[Tensor, "*shape"],
) -> Float[Tensor, "*shape"]:
    """Return g(t) = g(0) (1 + t / t0) ** -nu, S; `log_time` is ln(1 + t / t0)."""
    return g * torch.exp(-nu * log_time)


def add_flicker(
    g: Float[Tensor, "*shape"], relative: Float[Tensor, "*shape"]
) -> Float[Tensor, "*shape"]:
    """Return g (1 + q x), S, not below zero; `chip_sim/flicker_noise.py` says what x is."""
    return (g * (1 + relative)).clamp(min=0)


def flicker_at_first_read(t0: float, t_read: float) -> float:
    """Return sqrt(v(0)): the standard deviation of x at the first read, t0 after the write."""
    return math.sqrt(math.log((t0 + t_read) / (2 * t_read)))


def normal(like: Float[Tensor, "*shape"], rng: torch.Generator) -> Float[Tensor, "*shape"]:
    """Return standard normal numbers in the shape of `like`."""
    return torch.randn(like.shape, generator=rng, dtype=like.dtype)


def polynomial(r: Float[Tensor, "*shape"], *coefficients: float) -> Float[Tensor, "*shape"]:
    """Return c0 + c1 r + c2 r^2 + ..., by Horner's rule."""
    total = torch.zeros_like(r)
    for coefficient in reversed(coefficients):
        total = total * r + coefficient
    return total
