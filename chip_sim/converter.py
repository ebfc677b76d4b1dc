"""Converters at the ends of rows and columns: mid-tread, half to even, clamped after rounding."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor


class AdcBank(NamedTuple):
    """The converters of one row of tiles or of several, one for each column; drawn once a chip."""

    gain: Float[Tensor, "*tile column"]  # 1 is perfect
    offset_lsb: Float[Tensor, "*tile column"]
    inl_lsb: Float[Tensor, "*tile column"]  # height of the bow away from a straight line


def level_max(bits: int) -> int:
    """Return the largest code of a converter: codes run from minus to plus 2^(bits - 1) - 1."""
    return (1 << (bits - 1)) - 1


def converter_codes(
    values: Float[Tensor, "*shape"], full_scale: float, bits: int
) -> Float[Tensor, "*shape"]:
    """Return the codes clamp(round(x / LSB)), with LSB = full_scale / (2^(bits - 1) - 1)."""
    top = level_max(bits)
    return (values * (top / full_scale)).round_().clamp_(-top, top)


class Transfer(NamedTuple):
    """The level of a converter before it rounds: gain x / LSB + offset + bow(x), in LSB.

    The bow is integral nonlinearity, a cubic that is zero at both ends and in the middle:
    INL(x) = inl (3 sqrt(3) / 2) (x - x^3), with x as a fraction of the full scale.
    """

    scale: Float[Tensor, "*tile column"]  # LSB for one unit of the sum
    offset: Float[Tensor, "*tile column"]  # LSB
    bow: Float[Tensor, "*tile column"] | None  # None is a straight line
    full_scale: Float[Tensor, "*tile"]  # units of the sum

    def levels_(
        self, sums: Float[Tensor, "*some column point"]
    ) -> Float[Tensor, "*some column point"]:
        """Compute the levels, in LSB, and write them over the sums."""
        bow = None if self.bow is None else self._bend(sums) * self.bow[..., None]
        scale, offset = self.scale[..., None], self.offset[..., None]
        if sums.stride(-2) == 1:
            torch.addcmul(offset, sums, scale, out=sums)
        else:  # two operations that take a column's number once are faster than one that does not
            sums.mul_(scale).add_(offset)
        return sums if bow is None else sums.add_(bow)

    def tiles(self, tiles: int | slice) -> "Transfer":
        """Return the transfer of one row of tiles, or of some."""
        bow = None if self.bow is None else self.bow[tiles]
        return Transfer(self.scale[tiles], self.offset[tiles], bow, self.full_scale[tiles])

    def columns(self, columns: Int[Tensor, " some"] | slice) -> "Transfer":
        """Return the transfer of these columns alone; a column may come several times."""
        bow = None if self.bow is None else self.bow[..., columns]
        scale, offset = self.scale[..., columns], self.offset[..., columns]
        return Transfer(scale, offset, bow, self.full_scale)

    def _bend(
        self, sums: Float[Tensor, "*some column point"]
    ) -> Float[Tensor, "*some column point"]:
        x = (sums / self.full_scale[..., None, None]).clamp_(-1, 1)
        return x - x**3


def transfer_of(adc: AdcBank, full_scale: float | Sequence[float], bits: int) -> Transfer:
    """Return the transfer of converters whose largest code is that of the full scale.

    Each row of tiles has a full scale of its own.
    """
    largest = torch.tensor(full_scale, dtype=torch.float64)
    scale = adc.gain * (level_max(bits) / largest).float()[..., None]
    bow = adc.inl_lsb * (1.5 * 3**0.5) if adc.inl_lsb.any() else None
    return Transfer(scale, adc.offset_lsb, bow, largest.float())


def column_levels(
    sums: Float[Tensor, "*some column point"], adc: AdcBank, full_scale: float, bits: int
) -> Float[Tensor, "*some column point"]:
    """Return the levels of the converters before they round, in LSB."""
    return transfer_of(adc, full_scale, bits).levels_(sums.clone())


def convert_columns(
    sums: Float[Tensor, "*some column point"], adc: AdcBank, full_scale: float, bits: int
) -> Float[Tensor, "*some column point"]:
    """Return the codes of the column sums: clamp(round(gain x / LSB + offset + bow))."""
    top = level_max(bits)
    return column_levels(sums, adc, full_scale, bits).round_().clamp_(-top, top)
