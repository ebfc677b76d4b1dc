"""Side weights in 8-bit codes: to floats and back, and as named tensors of a block."""

from collections.abc import Mapping

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ltl_core.chip import SideWeights

SIDE_CODE_MAX = 127  # of 8 bits with a sign


def side_matrix(side: SideWeights) -> Float[Tensor, "column row"]:
    """Return what side weights add to the weights of a layer, code units."""
    return (side.up.float() * side.up_scale) @ (side.down.float() * side.down_scale)


def encode_side(
    down: Float[Tensor, "rank row"], up: Float[Tensor, "column rank"]
) -> SideWeights | None:
    """Return the nearest side weights, or None if they would add nothing.

    The largest entry of each matrix gets the largest code.
    """
    down_scale, up_scale = (float(f.abs().max()) / SIDE_CODE_MAX for f in (down, up))
    if not down_scale or not up_scale:
        return None
    return SideWeights(_codes(down, down_scale), _codes(up, up_scale), down_scale, up_scale)


def side_tensors(side: Mapping[str, SideWeights]) -> dict[str, Tensor]:
    """Return side weights by layer as named tensors: `side:LAYER.down`, `.up` and `.scales`."""
    tensors: dict[str, Tensor] = {}
    for name, weights in side.items():
        scales = torch.tensor((weights.down_scale, weights.up_scale), dtype=torch.float64)
        found = {"down": weights.down, "up": weights.up, "scales": scales}
        tensors |= {f"side:{name}.{field}": tensor for field, tensor in found.items()}
    return tensors


def read_side(tensors: Mapping[str, Tensor]) -> dict[str, SideWeights]:
    """Read what `side_tensors` returned; other tensors are ignored, and there may be none.

    Raises KeyError if a tensor is missing.
    """
    names = [key[len("side:") : -len(".scales")] for key in tensors if _is_scales(key)]
    return {
        name: SideWeights(
            tensors[f"side:{name}.down"],
            tensors[f"side:{name}.up"],
            *tensors[f"side:{name}.scales"].tolist(),
        )
        for name in names
    }


def _codes(factor: Float[Tensor, "_row _column"], scale: float) -> Int[Tensor, "_row _column"]:
    return (factor / scale).round().to(torch.int8)


def _is_scales(key: str) -> bool:
    return key.startswith("side:") and key.endswith(".scales")
