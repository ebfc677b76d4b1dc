"""One memory cell: what a write leaves behind, and what time makes of it.

Every random number of a device is drawn when it is written and kept until it is written again, so
that two reads at one instant agree. Time is an argument: seconds since the device's own last write.
"""

import math
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor


class DriftDraw(NamedTuple):
    """What a write decides about a device's future."""

    nu: Float[Tensor, "*shape"]  # drift exponent
    wander: Float[Tensor, "*shape"]  # the device's own direction and size of slow fluctuation


class Age(NamedTuple):
    """What time has brought to devices since their own last write."""

    elapsed: Float[Tensor, "*shape"]  # s
    log_time: Float[Tensor, "*shape"]  # ln(1 + t / t0), stretched by temperature: drift follows it
    flicker: Float[Tensor, "*shape"]  # the slow part of 1/f noise, sd sqrt(ln(1 + t / t0))


@runtime_checkable
class DeviceModel(Protocol):
    """One kind of memory cell."""

    @property
    def t0(self) -> float:
        """First read after programming, s: the time that drift and 1/f noise start from."""
        ...

    @property
    def fluctuates(self) -> bool:
        """Whether there is 1/f noise."""
        ...

    @property
    def known_until(self) -> float:
        """How long after a write there are published data, s."""
        ...

    def programming_noise(self, g_target: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Standard deviation of one write, S."""
        ...

    def draw_drift(
        self,
        g_target: Float[Tensor, "*shape"],
        g_programmed: Float[Tensor, "*shape"],
        rng: torch.Generator,
    ) -> DriftDraw:
        """What becomes of devices that were just written."""
        ...

    def conductance(
        self,
        g_target: Float[Tensor, "*shape"],
        g_programmed: Float[Tensor, "*shape"],
        draw: DriftDraw,
        age: Age,
    ) -> Float[Tensor, "*shape"]:
        """Conductance so long after the write, S."""
        ...


class PerfectDevice:
    """A cell that holds exactly what was written, for ever."""

    t0 = 1.0  # s; nothing depends on it
    fluctuates = False
    known_until = math.inf

    def programming_noise(self, g_target: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """None."""
        return torch.zeros_like(g_target)

    def draw_drift(
        self,
        g_target: Float[Tensor, "*shape"],
        g_programmed: Float[Tensor, "*shape"],  # noqa: ARG002
        rng: torch.Generator,  # noqa: ARG002
    ) -> DriftDraw:
        """Nothing happens to it."""
        return DriftDraw(torch.zeros_like(g_target), torch.zeros_like(g_target))

    def conductance(
        self,
        g_target: Float[Tensor, "*shape"],  # noqa: ARG002
        g_programmed: Float[Tensor, "*shape"],
        draw: DriftDraw,  # noqa: ARG002
        age: Age,  # noqa: ARG002
    ) -> Float[Tensor, "*shape"]:
        """g(t) = g(0)."""
        return g_programmed


def power_law_drift(
    g: Float[Tensor, "*shape"],
    nu: Float[Tensor, "*shape"],
    log_time: Float[Tensor, "*shape"],
) -> Float[Tensor, "*shape"]:
    """g(t) = g(0) (1 + t / t0) ** -nu, by the logarithm of 1 + t / t0."""
    return g * torch.exp(-nu * log_time)


def add_flicker(
    g: Float[Tensor, "*shape"], relative: Float[Tensor, "*shape"]
) -> Float[Tensor, "*shape"]:
    """1/f noise: g (1 + q x), not below zero; `chip_sim.flicker_noise` says what x is."""
    return (g * (1 + relative)).clamp(min=0)


def flicker_at_first_read(t0: float, t_read: float) -> float:
    """sqrt(v(0)): sd of x when nothing but t0 has passed since the write."""
    return math.sqrt(math.log((t0 + t_read) / (2 * t_read)))


def normal(like: Float[Tensor, "*shape"], rng: torch.Generator) -> Float[Tensor, "*shape"]:
    """Standard normal numbers, as many as in `like`."""
    return torch.randn(like.shape, generator=rng, dtype=like.dtype)


def polynomial(r: Float[Tensor, "*shape"], *coefficients: float) -> Float[Tensor, "*shape"]:
    """c0 + c1 r + c2 r^2 + ..., by Horner's rule."""
    total = torch.zeros_like(r)
    for coefficient in reversed(coefficients):
        total = total * r + coefficient
    return total
