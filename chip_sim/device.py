"""One memory cell: what a write leaves behind, and what time makes of it.

Every random number of a device is drawn when it is written and kept until it is written again, so
that two reads at one instant agree. Time is an argument: seconds since the device's own last write.
"""

from typing import NamedTuple, Protocol

import torch
from jaxtyping import Float
from torch import Tensor


class Fate(NamedTuple):
    """What a write decides about a device's future."""

    nu: Float[Tensor, "*shape"]  # drift exponent
    wander: Float[Tensor, "*shape"]  # the device's own direction and size of slow fluctuation


class DeviceModel(Protocol):
    """One kind of memory cell."""

    def programming_noise(self, g_target: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Standard deviation of one write, S."""
        ...

    def draw_fate(
        self,
        g_target: Float[Tensor, "*shape"],
        g_programmed: Float[Tensor, "*shape"],
        rng: torch.Generator,
    ) -> Fate:
        """What becomes of devices that were just written."""
        ...

    def conductance(
        self,
        g_target: Float[Tensor, "*shape"],
        g_programmed: Float[Tensor, "*shape"],
        fate: Fate,
        elapsed: Float[Tensor, "*shape"],
    ) -> Float[Tensor, "*shape"]:
        """Conductance so long after the write, S."""
        ...


class PerfectDevice:
    """A cell that holds exactly what was written, for ever."""

    def programming_noise(self, g_target: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """None."""
        return torch.zeros_like(g_target)

    def draw_fate(
        self,
        g_target: Float[Tensor, "*shape"],
        g_programmed: Float[Tensor, "*shape"],  # noqa: ARG002
        rng: torch.Generator,  # noqa: ARG002
    ) -> Fate:
        """Nothing happens to it."""
        return Fate(torch.zeros_like(g_target), torch.zeros_like(g_target))

    def conductance(
        self,
        g_target: Float[Tensor, "*shape"],  # noqa: ARG002
        g_programmed: Float[Tensor, "*shape"],
        fate: Fate,  # noqa: ARG002
        elapsed: Float[Tensor, "*shape"],  # noqa: ARG002
    ) -> Float[Tensor, "*shape"]:
        """g(t) = g(0)."""
        return g_programmed


def drift(
    g: Float[Tensor, "*shape"],
    nu: Float[Tensor, "*shape"],
    elapsed: Float[Tensor, "*shape"],
    t0: float,
) -> Float[Tensor, "*shape"]:
    """g(t) = g(0) (1 + t / t0) ** -nu."""
    return g * torch.exp(-nu * torch.log1p(elapsed / t0))


def flicker(
    g: Float[Tensor, "*shape"],
    wander: Float[Tensor, "*shape"],
    elapsed: Float[Tensor, "*shape"],
    t_read: float,
) -> Float[Tensor, "*shape"]:
    """1/f noise: g (1 + q z sqrt(ln((t + t_read) / (2 t_read)))); `wander` is q z of the device.

    z is standard normal and constant between two writes: the simplest process with this variance.
    It is the same for two reads at one instant and grows slowly afterwards.
    """
    spread = torch.log((elapsed + t_read) / (2 * t_read)).clamp(min=0).sqrt()
    return (g * (1 + wander * spread)).clamp(min=0)


def normal(like: Float[Tensor, "*shape"], rng: torch.Generator) -> Float[Tensor, "*shape"]:
    """Standard normal numbers, as many as in `like`."""
    return torch.randn(like.shape, generator=rng, dtype=like.dtype)


def polynomial(r: Float[Tensor, "*shape"], *coefficients: float) -> Float[Tensor, "*shape"]:
    """c0 + c1 r + c2 r^2 + ..., by Horner's rule."""
    total = torch.zeros_like(r)
    for coefficient in reversed(coefficients):
        total = total * r + coefficient
    return total
