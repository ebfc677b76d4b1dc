"""Checks of the codes that a chip is given, before anything is written or set."""

import math

from torch import Tensor

from ltl_core.chip import ChipInfo, SideWeights
from ltl_core.errors import CodeRangeError, LayerShapeError, SettingError
from ltl_core.network.stages import Stage

_SIDE_CODE_MAX = 127  # of 8 bits with a sign


def check_codes(stage: Stage, codes: Tensor, info: ChipInfo) -> None:
    """Check the weight codes of a layer. Raises LayerShapeError or CodeRangeError."""
    wanted, top = (stage.columns, stage.rows), info.weight_code_max
    check_integers(stage.name, "weight", codes, wanted)
    if codes.min() < -top or codes.max() > top:
        raise CodeRangeError(stage.name, "weight", -top, top)


def check_trims(stage: Stage, what: str, codes: Tensor, info: ChipInfo) -> None:
    """Check one kind of trim codes of a layer. Raises LayerShapeError or CodeRangeError."""
    low, high = info.trim_code_min, info.trim_code_max
    check_integers(stage.name, f"{what} trim", codes, (stage.columns,))
    if codes.min() < low or codes.max() > high:
        raise CodeRangeError(stage.name, f"{what} trim", low, high)


def check_side(stage: Stage, weights: SideWeights, info: ChipInfo) -> None:
    """Check the side weights of a layer.

    Raises LayerShapeError, CodeRangeError or SettingError.
    """
    rank = len(weights.down)
    if not 1 <= rank <= info.side_rank:
        raise SettingError(f"Side weights of this chip have a rank of 1 to {info.side_rank}.")
    shapes = {"down": (rank, stage.rows), "up": (stage.columns, rank)}
    for name, codes in (("down", weights.down), ("up", weights.up)):
        check_integers(stage.name, name, codes, shapes[name])
        if codes.min() < -_SIDE_CODE_MAX or codes.max() > _SIDE_CODE_MAX:
            raise CodeRangeError(stage.name, name, -_SIDE_CODE_MAX, _SIDE_CODE_MAX)
    if not (math.isfinite(weights.down_scale) and math.isfinite(weights.up_scale)):
        raise SettingError(
            f"The scales of the side weights of layer '{stage.name}' must be finite."
        )


def check_integers(layer: str, what: str, codes: Tensor, wanted: tuple[int, ...]) -> None:
    """Check that codes are integers of the wanted shape. Raises LayerShapeError."""
    if codes.is_floating_point() or tuple(codes.shape) != wanted:
        found = f"{tuple(codes.shape)} of {codes.dtype}"
        raise LayerShapeError(layer, wanted, found, f"integer {what} codes")
