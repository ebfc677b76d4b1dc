"""What a chip refuses before anything happens: codes, trims and stimuli that do not fit."""

from torch import Tensor

from chip_sim.layer import Drive
from ltl_core.chip import ChipInfo, Stimulus
from ltl_core.errors import CodeRangeError, LayerShapeError, NonFiniteError, SettingError
from ltl_core.network.stages import Stage


def check_codes(stage: Stage, codes: Tensor, info: ChipInfo) -> None:
    """Raises LayerShapeError or CodeRangeError."""
    wanted, top = (stage.columns, stage.rows), info.weight_code_max
    _check_integers(stage.name, "weight", codes, wanted)
    if codes.min() < -top or codes.max() > top:
        raise CodeRangeError(stage.name, "weight", -top, top)


def check_trims(stage: Stage, what: str, codes: Tensor, info: ChipInfo) -> None:
    """Raises LayerShapeError or CodeRangeError."""
    low, high = info.trim_code_min, info.trim_code_max
    _check_integers(stage.name, f"{what} trim", codes, (stage.columns,))
    if codes.min() < low or codes.max() > high:
        raise CodeRangeError(stage.name, f"{what} trim", low, high)


def drive_of(stimulus: Stimulus, stage: Stage, input_full_scale: float) -> Drive:
    """The stimulus, if it can be played into this layer.

    Raises LayerShapeError, NonFiniteError or SettingError.
    """
    if stimulus.steps < 1:
        raise SettingError("A stimulus needs at least one step.")
    values, analog = stimulus.values, stimulus.layer is None
    lead = ("batch",) if analog else (stimulus.steps, "batch")
    fits = tuple(values.shape[len(lead) :]) == stage.source_shape
    if not fits or (not analog and values.shape[0] != stimulus.steps):
        raise LayerShapeError(stage.name, (*lead, *stage.source_shape), tuple(values.shape))
    finite = values.isfinite()
    if not finite.all():
        raise NonFiniteError("stimulus", int((~finite).sum()))
    return Drive(values.float(), stimulus.steps, input_full_scale if analog else None)


def _check_integers(layer: str, what: str, codes: Tensor, wanted: tuple[int, ...]) -> None:
    if codes.is_floating_point() or tuple(codes.shape) != wanted:
        found = f"{tuple(codes.shape)} of {codes.dtype}"
        raise LayerShapeError(layer, wanted, found, f"integer {what} codes")
