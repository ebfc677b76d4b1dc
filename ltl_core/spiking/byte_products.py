"""Matrix products in bytes, exact in integers: spikes with codes, and spikes with rounded deltas.

One factor is always 0 or 1, so no sum of two products leaves the sixteen bits in which older
processors add them, and oneDNN adds the rest in 32.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int8, UInt8
from torch import Tensor

from ltl_core.network.layers import Conv2d, Weighted

LARGEST = 127  # largest code in a signed byte; the smallest used is -127


class ByteDeltas(NamedTuple):
    """Deltas rounded to bytes: delta = step * values, with one step for all of them."""

    values: Int8[Tensor, "line column"]
    step: float


def has_byte_products(device: torch.device) -> bool:
    """Return whether torch has products of bytes for this device."""
    return device.type == "cpu" and torch.backends.mkldnn.is_available()


def pack_bytes(layer: Weighted, codes: Int8[Tensor, "column *row"]) -> Tensor:
    """Return the codes of a layer, given in its own shape, in the layout of `sums_of_bytes`."""
    if not isinstance(layer, Conv2d):
        return _packed_matrix(codes)
    packed: Tensor = torch.ops.onednn.qconv_prepack(
        codes.contiguous(),
        torch.ones(len(codes)),
        1.0,
        0,
        layer.stride,
        layer.padding,
        (1, 1),
        1,
        None,
    )
    return packed


def sums_of_bytes(
    layer: Weighted, values: UInt8[Tensor, "n *input"], packed: Tensor
) -> Float[Tensor, "n *output"]:
    """Return sum_j code_ij s_j; `packed` is from `pack_bytes`. Channels are innermost in memory."""
    columns = layer.weight_shape[0]
    if not isinstance(layer, Conv2d):
        return _product(values, packed, torch.ones(columns))
    ones, zeros = torch.ones(columns), torch.zeros(columns, dtype=torch.long)
    image, weights = (values, 1.0, 0), (packed, ones, zeros, None)
    shape = (layer.stride, layer.padding, (1, 1), 1)
    sums: Tensor = torch.ops.onednn.qconv_pointwise(
        *image, *weights, *shape, 1.0, 0, torch.float32, "none", [], ""
    )
    return sums


def quantise_deltas(delta: Float[Tensor, "n column *position"]) -> ByteDeltas | None:
    """Round deltas to 255 levels, up to the largest; lines are by position, then by sample.

    Returns None if all deltas are zero.
    """
    in_memory = delta.permute(0, 2, 3, 1) if delta.dim() == 4 else delta
    low, high = torch.aminmax(in_memory)
    step = max(-float(low), float(high)) / LARGEST
    if step == 0:
        return None
    levels = (in_memory * (1 / step)).round_()
    if levels.dim() == 4:
        levels = levels.permute(1, 2, 0, 3)
    values = levels.to(torch.int8, memory_format=torch.contiguous_format)
    return ByteDeltas(values.flatten(0, -2), step)


def add_outer_product(
    total: Float[Tensor, "row column"],
    transposed: UInt8[Tensor, "row line"],
    deltas: ByteDeltas,
    fraction: float,
) -> None:
    """Add fraction * sum_n s_j[n] delta_i[n] to `total`, in place."""
    scales = torch.full((total.shape[1],), fraction * deltas.step)
    packed = _packed_matrix(deltas.values.T)
    _product(transposed, packed, scales, total)


def transpose(
    layer: Weighted, values: UInt8[Tensor, "n *input"], positions: tuple[int, ...]
) -> UInt8[Tensor, "row line"]:
    """Return the input of each row of a matrix, unfolded; lines are by position, then by sample.

    `positions` are the extents of a convolution's output. With the samples innermost a patch is
    copied in runs of that many bytes.
    """
    if not isinstance(layer, Conv2d):
        return values.T.contiguous()
    (high, wide), (down, right) = layer.kernel, layer.stride
    source = _transposed_and_padded(layer, values)
    by_channel, by_row, by_column, _ = source.stride()
    patches = source.as_strided(
        (high, wide, len(source), *positions, len(values)),
        (by_row, by_column, by_channel, by_row * down, by_column * right, 1),
    )
    return patches.reshape(high * wide * len(source), -1)


def _transposed_and_padded(
    layer: Conv2d, values: UInt8[Tensor, "n c h w"]
) -> UInt8[Tensor, "c hp wp n"]:
    (top, left), (n, channels, high, wide) = layer.padding, values.shape
    transposed = values.permute(0, 2, 3, 1).flatten(1).T.contiguous().view(high, wide, channels, n)
    padded = values.new_zeros(channels, high + 2 * top, wide + 2 * left, n)
    padded[:, top : top + high, left : left + wide] = transposed.permute(2, 0, 1, 3)
    return padded


def _packed_matrix(codes: Int8[Tensor, "column row"]) -> Tensor:
    # oneDNN's packing ignores strides.
    packed: Tensor = torch.ops.onednn.qlinear_prepack(codes.contiguous(), None)
    return packed


def _product(
    rows: UInt8[Tensor, "line row"],
    packed: Tensor,
    scales: Float[Tensor, " column"],
    total: Float[Tensor, "line column"] | None = None,
) -> Float[Tensor, "line column"]:
    """Return scale_i sum_j code_ij s_j; if there is a total, add to it in place."""
    zeros = torch.zeros(len(scales), dtype=torch.long)
    factors = (rows, 1.0, 0, packed, scales, zeros)
    output = (1.0, 0, torch.float32)
    sums: Tensor
    if total is None:
        sums = torch.ops.onednn.qlinear_pointwise(*factors, None, *output, "none", [], "")
    else:
        sums = torch.ops.onednn.qlinear_pointwise.binary(
            *factors, total, None, *output, 1.0, 0, "sum", 1.0, "none", [], ""
        )
    return sums
