"""What a chip lacks for the stages of a calibration. Readable without torch."""

from ltl_core.chip import ChipBackend, ChipInfo
from ltl_core.errors import SettingError
from ltl_core.optional_verbs import side_weighted, tunable
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


def check_chip(settings: CalibrationSettings, chip: ChipBackend, *, was_published: bool) -> None:
    """Check that the chip can run one of the stages that were asked for.

    `was_published` tells whether it is known what the chip answered when its weights were
    published. Raises NotTunableError or NoSideWeightsError if the chip lacks what the only stage
    needs, and SettingError if it lacks what all of several need or has no fingerprint.
    """
    if settings.stages in ((StageName.DRIFT,), (StageName.TUNE,)):
        tunable(chip)
    if settings.stages == (StageName.SIDE,):
        side_weighted(chip)
    if not settings.learns and not was_published:
        raise SettingError(
            "The stage 'drift' compares the chip with its fingerprint at publication, and there is "
            "none: calibrate the chip with all stages first."
        )
    if missing := what_is_missing(settings, chip.info):
        raise SettingError(
            f"The chip {chip.info.chip_id} has no {' and no '.join(missing)}: "
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
