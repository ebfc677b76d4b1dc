"""Checks of the codes that a chip is given, before anything is written or set."""

from torch import Tensor

from ltl_core.chip import ChipInfo
from ltl_core.errors import CodeRangeError, LayerShapeError
from ltl_core.network.stages import Stage


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


def check_integers(layer: str, what: str, codes: Tensor, wanted: tuple[int, ...]) -> None:
    """Check that codes are integers of the wanted shape. Raises LayerShapeError."""
    if codes.is_floating_point() or tuple(codes.shape) != wanted:
        found = f"{tuple(codes.shape)} of {codes.dtype}"
        raise LayerShapeError(layer, wanted, found, f"integer {what} codes")
