"""The model of one memory cell: what a write leaves behind, and what time makes of it.

Every random number of a device is drawn when it is written and kept until it is written again, so
that two reads at one instant agree. Time is an argument: seconds since the device's last write.
What does not depend on time is computed at the write and kept as well.
"""

import math
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

_BLOCK = 1 << 14  # whole vectors, and fewer than torch divides among threads


class DriftDraw(NamedTuple):
    """The random numbers that a write draws for a device: how it will drift."""

    nu: Float[Tensor, "*shape"]  # drift exponent
    wander: Float[Tensor, "*shape"]  # what its slow fluctuation begins with; each model's own unit


@runtime_checkable
class Age(Protocol):
    """What time has done to devices since their last write."""

    @property
    def elapsed(self) -> Float[Tensor, "*shape"]:
        """Time since the write, s."""
        ...

    @property
    def log_time(self) -> Float[Tensor, "*shape"]:
        """Return ln(1 + t / t0), scaled by temperature: drift follows it."""
        ...

    @property
    def flicker(self) -> Float[Tensor, "*shape"]:
        """Slow 1/f noise, standard deviation sqrt(ln(1 + t / t0))."""
        ...


class KnownAge(NamedTuple):
    """An age whose numbers were all computed."""

    elapsed: Float[Tensor, "*shape"]  # s
    log_time: Float[Tensor, "*shape"]
    flicker: Float[Tensor, "*shape"]


Constants = tuple[Float[Tensor, "*shape"], ...]  # of devices, until they are written again


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

    def constants(
        self,
        g_target: Float[Tensor, "*shape"],
        g_programmed: Float[Tensor, "*shape"],
        draw: DriftDraw,
    ) -> Constants:
        """Return what `conductance` needs of devices, whenever it is asked for, in its own units.

        Each device has its own numbers, whatever the devices beside it are.
        """
        ...

    def conductance(self, constants: Constants, age: Age) -> Float[Tensor, "*shape"]:
        """Return the conductance at this age, S. Changes no argument."""
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

    def constants(
        self,
        g_target: Float[Tensor, "*shape"],  # noqa: ARG002
        g_programmed: Float[Tensor, "*shape"],
        draw: DriftDraw,  # noqa: ARG002
    ) -> Constants:
        """Return what was programmed."""
        return (g_programmed,)

    def conductance(
        self,
        constants: Constants,
        age: Age,  # noqa: ARG002
    ) -> Float[Tensor, "*shape"]:
        """Return what was programmed: g(t) = g(0)."""
        return constants[0]


def power_law_drift(
    g: Float[Tensor, "*shape"],
    minus_nu: Float[Tensor, "*shape"],
    log_time: Float[Tensor, "*shape"],
) -> Float[Tensor, "*shape"]:
    """Return g(t) = g(0) (1 + t / t0) ** -nu, S; `log_time` is ln(1 + t / t0)."""
    return torch.mul(minus_nu, log_time).exp_().mul_(g)


def power(r: Float[Tensor, "*shape"], exponent: float) -> Float[Tensor, "*shape"]:
    """Return r ** exponent.

    The last few numbers of a tensor, and of each thread's part, are raised with other instructions,
    whose last bit may differ. In blocks that are too small for threads it is always the same.
    """
    blocks = r.flatten().split(_BLOCK)
    return torch.cat([block.pow(exponent) for block in blocks]).view(r.shape)


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
