"""The devices of a layer, as the last writes left them.

Devices are numbered as they lie in [2, column, row]: first the plus devices of all cells, then the
minus devices. A write changes those that it chooses, in place; all others go on ageing.
"""

from collections.abc import Mapping

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Float64, Int, Int32
from torch import Tensor

from chip_sim import pair
from chip_sim.devices.device import Constants, DeviceModel, DriftDraw
from chip_sim.spec import ChipSpec

_VECTOR = 32  # numbers that torch computes at once, at most


class WriteTimes:
    """When devices were written. Those of one write share one moment."""

    def __init__(self, moments: Float64[Tensor, " moment"], of: Int32[Tensor, " device"]) -> None:
        """`moments` are the chip's clock at each write, s; `of` is the number of each device's."""
        self._moments, self.of = moments.numpy(), of
        self._counts = np.bincount(of.numpy(), minlength=len(moments))

    @classmethod
    def from_clock(cls, written_at: Float64[Tensor, " device"]) -> "WriteTimes":
        """Make them of the time of each device's last write, s."""
        moments, of = written_at.unique(return_inverse=True)
        return cls(moments, of.to(torch.int32))

    @property
    def moments(self) -> Float64[Tensor, " moment"]:
        """The chip's clock at each write, s, the first write first."""
        return torch.from_numpy(self._moments)

    @property
    def oldest(self) -> int:
        """Number of the moment since which a device was not written again; the longest such."""
        return int(np.flatnonzero(self._counts)[0])

    @property
    def written_at(self) -> Float64[Tensor, " device"]:
        """Time of each device's last write, s."""
        return self.moments[self.of]

    def write(self, devices: Int[Tensor, " some"], now: float) -> None:
        """Note that these devices were written at `now`, s."""
        left = np.bincount(self.of[devices].numpy(), minlength=len(self._moments))
        self.of[devices] = len(self._moments)
        self._counts = np.append(self._counts - left, len(devices))
        self._moments = np.append(self._moments, now)


class Cells:
    """The devices of a layer. What is drawn at a write stays until the next one."""

    def __init__(
        self,
        codes: Int32[Tensor, "column row"],
        g: Float[Tensor, " device"],
        draw: DriftDraw,
        times: WriteTimes,
    ) -> None:
        """Take over the tensors: later writes change them. Conductances are in S."""
        self.codes, self.g, self.draw, self.times = codes, g, draw, times
        self._constants: Constants | None = None

    @classmethod
    def never_written(cls, columns: int, rows: int) -> "Cells":
        """Make cells of code zero and of no conductance."""
        codes = torch.zeros(columns, rows, dtype=torch.int32)
        g, nu, wander = torch.zeros(3, 2 * codes.numel())
        of = torch.zeros(2 * codes.numel(), dtype=torch.int32)
        return cls(codes, g, DriftDraw(nu, wander), WriteTimes(torch.zeros(1).double(), of))

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> "Cells":
        """Copy what `tensors` gave. Raises KeyError if one is missing."""
        codes = tensors["codes"].to(torch.int32, copy=True)
        g, nu, wander, at = (tensors[n].flatten() for n in ("g", "nu", "wander", "written_at"))
        draw = DriftDraw(nu.clone(), wander.clone())
        return cls(codes, g.clone(), draw, WriteTimes.from_clock(at))

    def tensors(self) -> dict[str, Tensor]:
        """Return all that `from_tensors` needs."""
        devices = {**self.draw._asdict(), "g": self.g, "written_at": self.times.written_at}
        shape = (2, *self.codes.shape)
        return {"codes": self.codes} | {name: v.view(shape) for name, v in devices.items()}

    def put(
        self,
        devices: Int[Tensor, " some"],
        g: Float[Tensor, " some"],
        draw: DriftDraw,
        model: DeviceModel,
        spec: ChipSpec,
    ) -> None:
        """Take over what a write left of these devices; the codes have been set before."""
        self.g[devices], self.draw.nu[devices], self.draw.wander[devices] = g, *draw
        if 2 * devices.numel() > self.g.numel():
            self._constants = None
        if self._constants is not None:
            self._renew(self._constants, devices, model, spec)

    def constants(self, model: DeviceModel, spec: ChipSpec) -> Constants:
        """Return the constants of all devices; a write renews those of its devices alone."""
        if self._constants is None:
            target = pair.g_target(self.codes, spec.device, spec.code_max).view(-1)
            self._constants = model.constants(target, self.g, self.draw)
        return self._constants

    def _renew(
        self,
        constants: Constants,
        devices: Int[Tensor, " some"],
        model: DeviceModel,
        spec: ChipSpec,
    ) -> None:
        """Write the constants of these devices over those before.

        They are the same, to the last bit, as if those of all devices were computed again: in whole
        vectors, but for the few at the end that do not fill one.
        """
        count = self.g.numel()
        end = torch.arange(count - count % _VECTOR, count)
        for some, padding in ((devices, -devices.numel() % _VECTOR), (end, 0)):
            if some.numel():
                target = pair.g_target_of(some, self.codes, spec.device, spec.code_max)
                values = (target, self.g[some], *(drawn[some] for drawn in self.draw))
                target, g, nu, wander = (F.pad(one, (0, padding)) for one in values)
                fresh = model.constants(target, g, DriftDraw(nu, wander))
                for kept, new in zip(constants, fresh, strict=True):
                    kept[some] = new[: some.numel()]
