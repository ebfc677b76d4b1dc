"""Integer codes that a chip accepts, and the float weights that are rounded to them."""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ltl_core.chip import ChipInfo


class CodeFormat(NamedTuple):
    """The codes of a chip: by default weights of 6 bits and sign, trims of 8 bits.

    Trims reach half a threshold to either side.
    """

    weight_max: int = 63  # weight codes run from -max to +max
    trim_min: int = -128
    trim_max: int = 127
    trim_lsb: float = 1 / 256  # size of one trim code, as a fraction of the threshold


def format_of(info: ChipInfo) -> CodeFormat:
    """Return the code format of a chip."""
    return CodeFormat(info.weight_code_max, info.trim_code_min, info.trim_code_max, info.trim_lsb)


def fit_lsb(weight: Float[Tensor, "*shape"], codes: CodeFormat) -> float:
    """Return the weight of one code that rounds `weight` with the least squared error.

    Clipping the few largest weights is often cheaper than a coarse step for all of them, so the
    full scale is searched between a quarter of the largest weight and all of it.
    """
    largest = float(weight.abs().max())
    if largest == 0:
        return 1.0 / codes.weight_max
    candidates = [largest * part / 40 / codes.weight_max for part in range(10, 41)]
    return min(
        candidates,
        key=lambda lsb: float((weight - lsb * encode(weight / lsb, codes)).square().sum()),
    )


def encode(values: Float[Tensor, "*shape"], codes: CodeFormat) -> Float[Tensor, "*shape"]:
    """Return the nearest weight codes of values in code units, still as floats."""
    return values.round().clamp(-codes.weight_max, codes.weight_max)


def encode_trim(values: Float[Tensor, "*shape"], codes: CodeFormat) -> Float[Tensor, "*shape"]:
    """Return the nearest trim codes of values in trim codes, still as floats."""
    return values.round().clamp(codes.trim_min, codes.trim_max)


def as_integers(codes: Float[Tensor, "*shape"]) -> Int[Tensor, "*shape"]:
    """Return codes in the 16-bit integers in which they are sent and stored."""
    return codes.to(torch.int16)


def zero_trims(columns: int) -> Int[Tensor, " column"]:
    """Return trim codes of zero, which leave a threshold or bias at its nominal value."""
    return torch.zeros(columns, dtype=torch.int16)
