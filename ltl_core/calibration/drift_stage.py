"""The stage of a calibration that compensates drift, before anything is learned."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from torch import Tensor

from ltl_core.calibration.compensation import Compensation, StageResponses
from ltl_core.calibration.drift import MeanFingerprint
from ltl_core.calibration.stimuli.synthetic import synthetic_inputs
from ltl_core.chip import ChipBackend, LayerCodes, SideWeights
from ltl_core.optional_verbs import TunableChip
from ltl_core.student.golden import golden_targets
from ltl_core.student.student import Student
from ltl_core.teaching.targets import Samples

_STIMULI = 32  # with 64, no more was regained (docs/results/calibration.md)
_SEED = 0  # always the same stimuli


class InForce(NamedTuple):
    """The published version that a chip begins with."""

    codes: Mapping[str, LayerCodes]
    fingerprint: MeanFingerprint | None = None  # what the chip answered when they were published
    side: Mapping[str, SideWeights] = {}  # by layer


def make_compensation(
    chip: ChipBackend,
    golden: Student,
    published: MeanFingerprint | None,
    respond: Callable[[Tensor], StageResponses],
    *,
    are_sequences: bool,
) -> Compensation | None:
    """Return the compensation of the golden student's network, which is placed on the chip.

    `respond` returns the chip's responses to inputs, by stage; `are_sequences` tells whether an
    input is a sequence of frames. None if the chip has no registers, or if it is not known what it
    answered at publication. Raises what the chip raises.
    """
    has_registers = chip.info.tuning is not None and isinstance(chip, TunableChip)
    if published is None or not has_registers:
        return None
    inputs = synthetic_inputs(golden, _STIMULI, _SEED, are_sequences=are_sequences)
    stimuli = golden_targets(golden, Samples(inputs, None))
    return Compensation(chip, golden.placement(), published, stimuli, respond)
