"""Converters at the ends of rows and columns: mid-tread, half to even, clamped after rounding."""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor


class AdcBank(NamedTuple):
    """The converters of one row of tiles, one a column. Drawn once a chip."""

    gain: Float[Tensor, " column"]  # 1 is perfect
    offset_lsb: Float[Tensor, " column"]
    inl_lsb: Float[Tensor, " column"]  # height of the bow away from a straight line


def level_max(bits: int) -> int:
    """Largest code of a converter: codes run from minus to plus 2^(bits - 1) - 1."""
    return (1 << (bits - 1)) - 1


def converter_codes(
    values: Float[Tensor, "*shape"], full_scale: float, bits: int
) -> Float[Tensor, "*shape"]:
    """Codes of the values: clamp(round(x / LSB)), LSB = full_scale / (2^(bits - 1) - 1)."""
    top = level_max(bits)
    return (values * (top / full_scale)).round_().clamp_(-top, top)


class Transfer(NamedTuple):
    """What converters see before they round: gain x / LSB + offset + bow(x), in LSB.

    The bow is integral nonlinearity, a cubic that is zero at both ends and in the middle:
    INL(x) = inl (3 sqrt(3) / 2) (x - x^3), x in parts of the full scale.
    """

    scale: Float[Tensor, " column"]  # LSB for one unit of the sum
    offset: Float[Tensor, " column"]
    bow: Float[Tensor, " column"] | None  # None is a straight line
    full_scale: float

    def levels_(
        self, sums: Float[Tensor, "*some column point"]
    ) -> Float[Tensor, "*some column point"]:
        """Written over the sums."""
        bow = None if self.bow is None else self._bend(sums) * self.bow[:, None]
        scale, offset = self.scale[:, None], self.offset[:, None]
        if sums.stride(-2) == 1:
            torch.addcmul(offset, sums, scale, out=sums)
        else:  # two operations that take a column's number once are faster than one that does not
            sums.mul_(scale).add_(offset)
        return sums if bow is None else sums.add_(bow)

    def of(self, columns: Int[Tensor, " some"]) -> "Transfer":
        """These columns alone; one may come several times."""
        bow = None if self.bow is None else self.bow[columns]
        return Transfer(self.scale[columns], self.offset[columns], bow, self.full_scale)

    def _bend(
        self, sums: Float[Tensor, "*some column point"]
    ) -> Float[Tensor, "*some column point"]:
        x = (sums / self.full_scale).clamp_(-1, 1)
        return x - x**3


def transfer_of(adc: AdcBank, full_scale: float, bits: int) -> Transfer:
    """Of converters of so many bits, whose largest code stands for the full scale."""
    bow = adc.inl_lsb * (1.5 * 3**0.5) if adc.inl_lsb.any() else None
    return Transfer(adc.gain * (level_max(bits) / full_scale), adc.offset_lsb, bow, full_scale)


def column_levels(
    sums: Float[Tensor, "*some column point"], adc: AdcBank, full_scale: float, bits: int
) -> Float[Tensor, "*some column point"]:
    """What the converters see before they round, in LSB."""
    return transfer_of(adc, full_scale, bits).levels_(sums.clone())


def convert_columns(
    sums: Float[Tensor, "*some column point"], adc: AdcBank, full_scale: float, bits: int
) -> Float[Tensor, "*some column point"]:
    """Codes of the column sums: clamp(round(gain x / LSB + offset))."""
    top = level_max(bits)
    return column_levels(sums, adc, full_scale, bits).round_().clamp_(-top, top)
