"""What a chip lacks for the stages of a calibration. Readable without torch."""

from ltl_core.chip import ChipInfo
from ltl_core.errors import SettingError
from ltl_core.settings import CalibrationSettings, StageName

_REGISTERS = "registers to tune"
_TRIMS = "trims"
_SIDE = "digital side weights"
_NEEDS = {
    StageName.DRIFT: _REGISTERS,
    StageName.TUNE: _REGISTERS,
    StageName.TRIMS: _TRIMS,
    StageName.SIDE: _SIDE,
}


def has_trims(info: ChipInfo) -> bool:
    """Tell whether the chip has trims of biases: codes other than zero."""
    return info.trim_code_min < 0 or info.trim_code_max > 0


def what_is_missing(settings: CalibrationSettings, info: ChipInfo) -> tuple[str, ...]:
    """Return what the chip lacks for all stages that were asked for; nothing if one can run."""
    needs = [_need_of(name, settings) for name in settings.stages]
    lacking = _lacking(info)
    if any(need not in lacking for need in needs):
        return ()
    return tuple(dict.fromkeys(need for need in needs if need is not None))


def check_stages(settings: CalibrationSettings, info: ChipInfo) -> None:
    """Raise SettingError if the chip can run none of the stages that were asked for."""
    if missing := what_is_missing(settings, info):
        raise SettingError(
            f"The chip {info.chip_id} has no {' and no '.join(missing)}: "
            "ask for a stage that it can do."
        )


def _need_of(name: StageName, settings: CalibrationSettings) -> str | None:
    """Return what a chip must have for a stage; None if every chip has it.

    A method that moves trims alone does so in every stage that writes cells.
    """
    writes = name in (StageName.CELLS, StageName.SIDE)
    return _TRIMS if writes and not settings.method.moves_cells else _NEEDS.get(name)


def _lacking(info: ChipInfo) -> set[str]:
    has = {
        _REGISTERS: info.tuning is not None,
        _TRIMS: has_trims(info),
        _SIDE: info.side_rank > 0,
    }
    return {what for what, there in has.items() if not there}
