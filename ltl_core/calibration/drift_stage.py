"""The stage of a calibration that compensates drift, before anything is learned."""

from collections.abc import Mapping
from typing import NamedTuple

from ltl_core.calibration.compensation import Compensation
from ltl_core.calibration.drift import MeanFingerprint
from ltl_core.chip import ChipBackend, LayerCodes, Placement, SideWeights
from ltl_core.optional_verbs import TunableChip


class InForce(NamedTuple):
    """The published version that a chip begins with."""

    codes: Mapping[str, LayerCodes]
    fingerprint: MeanFingerprint | None = None  # what the chip answered when they were published
    side: Mapping[str, SideWeights] = {}  # by layer


def make_compensation(
    chip: ChipBackend, placement: Placement, published: MeanFingerprint | None
) -> Compensation | None:
    """Return the compensation of the placed network.

    None if the chip has no registers, or if it is not known what it answered at publication.
    Raises what the chip raises.
    """
    has_registers = chip.info.tuning is not None and isinstance(chip, TunableChip)
    if published is None or not has_registers:
        return None
    return Compensation(chip, placement, published)
