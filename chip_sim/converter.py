"""Converters at the ends of rows and columns: mid-tread, half to even, clamped after rounding."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor


class AdcBank(NamedTuple):
    """The converters of one row of tiles, one a column. Drawn once a chip."""

    gain: Float[Tensor, " column"]  # 1 is perfect
    offset_lsb: Float[Tensor, " column"]
    inl_lsb: Float[Tensor, " column"]  # height of the bow away from a straight line


def level_max(bits: int) -> int:
    """Largest code of a converter: codes run from minus to plus 2^(bits - 1) - 1."""
    return (1 << (bits - 1)) - 1


def quantise(
    values: Float[Tensor, "*shape"], full_scale: float, bits: int
) -> Float[Tensor, "*shape"]:
    """Codes of the values: clamp(round(x / LSB)), LSB = full_scale / (2^(bits - 1) - 1)."""
    top = level_max(bits)
    return (values * (top / full_scale)).round_().clamp_(-top, top)


def column_levels(
    sums: Float[Tensor, "*some column point"], adc: AdcBank, full_scale: float, bits: int
) -> Float[Tensor, "*some column point"]:
    """What the converters see before they round: gain x / LSB + offset + bow(x), in LSB."""
    return column_levels_(sums.clone(), adc, full_scale, bits)


def column_levels_(
    sums: Float[Tensor, "*some column point"], adc: AdcBank, full_scale: float, bits: int
) -> Float[Tensor, "*some column point"]:
    """Likewise, written over the sums."""
    scale = adc.gain * (level_max(bits) / full_scale)
    bow = _bow(sums / full_scale, adc) if adc.inl_lsb.any() else None
    torch.addcmul(adc.offset_lsb[:, None], sums, scale[:, None], out=sums)
    return sums if bow is None else sums.add_(bow)


def _bow(
    part: Float[Tensor, "*some column point"], adc: AdcBank
) -> Float[Tensor, "*some column point"]:
    """Integral nonlinearity: a cubic that is zero at both ends and in the middle, one at its peak.

    INL(x) = inl (3 sqrt(3) / 2) (x - x^3), x in parts of the full scale.
    """
    x = part.clamp(-1, 1)
    return (x - x**3) * (adc.inl_lsb * (1.5 * 3**0.5))[:, None]


def convert_columns(
    sums: Float[Tensor, "*some column point"], adc: AdcBank, full_scale: float, bits: int
) -> Float[Tensor, "*some column point"]:
    """Codes of the column sums: clamp(round(gain x / LSB + offset))."""
    top = level_max(bits)
    return column_levels(sums, adc, full_scale, bits).round_().clamp_(-top, top)
