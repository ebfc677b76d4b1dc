"""The first stage of a calibration: tune a chip that was never tuned."""

from collections.abc import Mapping

import torch

from ltl_core.chip import ChipBackend, LayerCodes
from ltl_core.optional_verbs import TunableChip
from ltl_core.settings import TuneSettings
from ltl_core.student.student import Student
from ltl_core.teaching.targets import TargetSet, evenly_spaced_indices
from ltl_core.tuning.tuner import Tuner, TuningSetup

_SAMPLES = 64  # that set the ranges: with 256, no code of two chips was further than one away


def make_tuner(
    chip: ChipBackend, student: Student, codes: Mapping[str, LayerCodes], samples: TargetSet
) -> Tuner | None:
    """Return a tuner of the placed network; None if the chip has no registers, or is tuned.

    `codes` are on the chip; converter ranges are set by `samples`. Raises what the chip raises.
    """
    names = [stage.name for stage in student.network.stages]
    if chip.info.tuning is None or not isinstance(chip, TunableChip) or _is_tuned(chip, names):
        return None
    settings = TuneSettings(samples=_SAMPLES)
    inputs = samples.samples.inputs[evenly_spaced_indices(samples.size, settings.samples)]
    stimulus = student.stimulus(inputs)
    return Tuner(TuningSetup(chip, student.placement(), codes, stimulus), settings)


def _is_tuned(chip: TunableChip, layers: list[str]) -> bool:
    """Tell whether converters and neurons have been tuned under any of the layers."""
    found = [chip.tuning(name) for name in layers]
    return all(
        any(bool(torch.any(getattr(tuning, register))) for tuning in found)
        for register in ("adc_offset", "threshold")
    )
