"""Cells of phase-change memory as aihwkit models them: what a write leaves, and what time does.

A cell is a pair of devices, one for each sign. aihwkit programs whole tiles; this chip writes the
devices whose target changed, by the functions of the same noise model for single conductances, and
each device has an age of its own.
"""

import math
from typing import NamedTuple

import torch
from aihwkit.inference.noise.pcm import PCMLikeNoiseModel
from torch import Tensor

from aihwkit_chip.settings import ChipSettings

T_0 = 20.0  # s after a write, at which the conductances of the model are those programmed
AGE_STEP = 0.01  # a device is read anew when age + T_0 has grown by this fraction


class Cells(NamedTuple):
    """The cells of one layer; conductances in uS, times in s of the chip's clock."""

    codes: Tensor  # [column, row], as they were written last
    programmed: Tensor  # [device, column, row], conductance after the write
    nu: Tensor  # [device, column, row], drift exponent that the write left
    written: Tensor  # [device, column, row], time of the write
    conductance: Tensor  # [device, column, row], as it was read last
    age: Tensor  # [device, column, row], steps of age at that read; -1 since a write


class Memory:
    """Writes and reads cells; draws from the generator of torch that is in force."""

    def __init__(self, settings: ChipSettings, code_max: int) -> None:
        """A code of `code_max` is one device at the largest conductance."""
        self._code_max = code_max
        self._model = PCMLikeNoiseModel(
            t_0=T_0,
            prog_noise_scale=settings.programming_noise,
            read_noise_scale=settings.read_noise,
            drift_scale=settings.drift,
        )

    @staticmethod
    def fresh(columns: int, rows: int) -> Cells:
        """Return cells whose devices were all reset, with a conductance of zero."""
        nothing, zeros = torch.zeros(2, columns, rows), torch.zeros(2, columns, rows).long()
        return Cells(zeros[0], nothing, nothing, nothing.double(), nothing, zeros - 1)

    def write(self, cells: Cells, codes: Tensor, now: float) -> tuple[Cells, int]:
        """Write the devices whose target changed; return the cells, and the number of devices."""
        before, targets = _devices(cells.codes), _devices(codes)
        changed = targets != before
        target = targets[changed] * (float(self._model.g_max) / self._code_max)
        written = cells._replace(
            codes=codes.clone(),
            programmed=_with(
                cells.programmed,
                changed,
                self._model.apply_programming_noise_to_conductance(target),
            ),
            nu=_with(cells.nu, changed, self._model.generate_drift_coefficients(target)),
            written=_with(cells.written, changed, torch.tensor(now, dtype=torch.float64)),
            age=_with(cells.age, changed, torch.tensor(-1)),
        )
        return written, int(changed.sum())

    def read(self, cells: Cells, now: float) -> Cells:
        """Return the cells with the conductances that they have now.

        aihwkit draws the 1/f noise of a time of inference, and keeps it for all that is computed
        then. Here a device draws it when it is older by a step, or was written.
        """
        age = ((now - cells.written) / T_0).log1p().div(AGE_STEP).round().long()
        conductance = cells.conductance.clone()
        for steps in age[age != cells.age].unique().tolist():
            of = (age == steps) & (cells.age != steps)
            conductance[of] = self._model.apply_drift_noise_to_conductance(
                cells.programmed[of], cells.nu[of], T_0 * math.expm1(steps * AGE_STEP)
            )
        return cells._replace(conductance=conductance, age=age)

    def weights(self, cells: Cells) -> Tensor:
        """Return the weights [column, row] as fractions of the largest conductance."""
        plus, minus = cells.conductance / float(self._model.g_max)
        return plus - minus


def _devices(codes: Tensor) -> Tensor:
    """Return the codes of both devices of each cell: one of them is always zero."""
    return torch.stack((codes.clamp(min=0), (-codes).clamp(min=0)))


def _with(values: Tensor, where: Tensor, new: Tensor) -> Tensor:
    """Return a copy with other values at some places."""
    copy = values.clone()
    copy[where] = new
    return copy
