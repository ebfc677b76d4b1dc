"""Converters at the ends of rows and columns: mid-tread, half to even, clamped after rounding."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor


class AdcBank(NamedTuple):
    """The converters of one row of tiles, one a column. Drawn once a chip."""

    gain: Float[Tensor, " column"]  # 1 is perfect
    offset_lsb: Float[Tensor, " column"]


def level_max(bits: int) -> int:
    """Largest code of a converter: codes run from minus to plus 2^(bits - 1) - 1."""
    return (1 << (bits - 1)) - 1


def quantise(
    values: Float[Tensor, "*shape"], full_scale: float, bits: int
) -> Float[Tensor, "*shape"]:
    """Codes of the values: clamp(round(x / LSB)), LSB = full_scale / (2^(bits - 1) - 1)."""
    top = level_max(bits)
    return (values * (top / full_scale)).round().clamp(-top, top)


def convert_columns(
    sums: Float[Tensor, "batch column *position"], adc: AdcBank, full_scale: float, bits: int
) -> Float[Tensor, "batch column *position"]:
    """Codes of the column sums: clamp(round(gain x / LSB + offset))."""
    top = level_max(bits)
    shape = (-1, *(1,) * (sums.ndim - 2))
    scale = (adc.gain * (top / full_scale)).view(shape)
    return torch.addcmul(adc.offset_lsb.view(shape), sums, scale).round_().clamp_(-top, top)
