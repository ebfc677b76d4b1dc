"""Ranges of a chip's converters from the golden student alone: nothing is measured on the chip.

A converter sees the rows of its own tile. The sums of these rows are smaller than those of the
whole column, so that a range of their own makes its steps finer.
"""

import math
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from ltl_core.chip import ChipInfo, Register
from ltl_core.errors import NotTunableError
from ltl_core.network.layers import Conv2d, Weighted, size
from ltl_core.spiking.linear import as_matrix, weighted_sums
from ltl_core.student.column_sums import SAMPLES_AT_ONCE, MatrixInput, TopValues, matrix_inputs
from ltl_core.student.student import Student

_MARGIN = 1.15  # for a chip whose gains, offsets and weights are not nominal
# Codes by which a range may be too small: sums of floats differ from processor to processor.
_ROUNDING = 1e-3


def ranges_of(
    student: Student,
    inputs: Float[Tensor, "batch *shape"],
    info: ChipInfo,
    margin: float = _MARGIN,
) -> dict[str, Int[Tensor, " tile"]]:
    """Return the codes of `Tuning.adc_range` of every layer: one for each row of tiles.

    A range holds the 99.9th percentile of |sum_j code_j x_j| over the rows j of one tile, over all
    inputs and steps, times `margin`. If the chip has one range for a layer, it is the widest of
    these. Raises NotTunableError if the chip has no registers, and LayerShapeError for inputs of
    another shape.
    """
    tuning = info.tuning
    if tuning is None:
        raise NotTunableError(info.chip_id)
    codes = {}
    for name, peaks in _peaks(student, inputs, info.tile_rows).items():
        nominal = student.lsb[name] * student.full_scale[name]
        found = torch.tensor([_code(margin * peak / nominal, tuning.adc_range) for peak in peaks])
        codes[name] = found if tuning.range_by_tile else found.max().expand(len(found))
    return codes


def _peaks(
    student: Student, inputs: Float[Tensor, "batch *shape"], tile_rows: int
) -> dict[str, list[float]]:
    """Return the percentile of |partial sum| of each row of tiles, in units of the weights."""
    weights = student.weights()
    tops = {
        layer.name: [TopValues(len(inputs)) for _ in _blocks(layer, tile_rows)]
        for layer in student.network.matrices
    }
    for chunk in inputs.split(SAMPLES_AT_ONCE):
        for found in matrix_inputs(student.network, weights, chunk, student.neuron):
            for top, sums in zip(tops[found.name], _partial_sums(found, tile_rows), strict=True):
                top.add(sums, len(chunk))
    return {name: [top.percentile for top in rows] for name, rows in tops.items()}


def _partial_sums(found: MatrixInput, tile_rows: int) -> Iterator[Tensor]:
    """Yield the column sums of each row of tiles; a chip numbers rows as weights are stored."""
    layer, matrix = found.rows.branch.layer, found.weights.matrix
    assert layer is not None  # nosec B101 # for the type checker; a matrix is a layer's
    rows = torch.arange(matrix.shape[1], dtype=matrix.dtype).view(1, *layer.weight_shape[1:])
    place = as_matrix(layer, rows)[0]  # on the chip, of each row of the unfolded input
    for block in _blocks(layer, tile_rows):
        here = (place >= block.start) & (place < block.stop)
        if isinstance(layer, Conv2d) and layer.groups != 1:
            yield weighted_sums(found.rows, found.weights._replace(matrix=matrix * here))
        else:
            yield F.linear(found.rows.values[:, here], matrix[:, here])


def _blocks(layer: Weighted, tile_rows: int) -> list[range]:
    """Return the rows of each row of tiles; a group of a convolution has rows of its own."""
    rows = size(layer.weight_shape[1:])
    return [range(at, min(at + tile_rows, rows)) for at in range(0, rows, tile_rows)]


def _code(factor: float, register: Register) -> int:
    """Return the lowest code whose full scale is at least `factor` times nominal, but rounding."""
    if factor == 0:
        return register.code_min
    code = math.ceil(math.log2(factor) / register.lsb - _ROUNDING)
    return min(max(code, register.code_min), register.code_max)
