"""The weight map of a chip, which its page shows; it is kept with the chip's fingerprint.

A chip in software says how far its true weights are from the codes. Of any other chip it is known
only how far its codes are from those of the golden student.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from service.bench.true_weights import TransparentChip
from service.jobs.messages import Json

if TYPE_CHECKING:  # loads torch, which the child process alone may
    from ltl_core.chip import LayerCodes
    from service.jobs.kinds.chip_session import JobChipSession

WEIGHT_MAP = "weight_map"  # in what a child answers, and in the answer of a fingerprint
ERROR, MOVED = "error", "moved"  # what a map shows: true weight - code, or code - golden code


def read_weight_map(
    chip: "JobChipSession", codes: "Mapping[str, LayerCodes]", at: float
) -> Json | None:
    """Return the map of a chip that holds these codes; None if its network is in several passes.

    `at` is the chip's clock, s.
    """
    from ltl_core.calibration.weight_map import weight_differences, weight_map

    if chip.passes > 1:
        return None
    seen = chip.transparent
    if seen is None:
        held = {name: code.weight for name, code in codes.items()}
        moved = weight_differences(held, chip.student.codes)
        return weight_map(moved, chip.backend.info).to_json() | {"shows": MOVED, "chip_time_s": at}
    errors = weight_differences({name: seen.weights(name) for name in codes}, codes)
    shown = weight_map(errors, chip.backend.info).to_json()
    return shown | {"shows": ERROR, "chip_time_s": at, "pulses": _pulses(seen, list(codes))}


def _pulses(chip: TransparentChip, layers: list[str]) -> Json:
    """Return how often the devices under a network were pulsed, whoever wrote them."""
    wear = [chip.wear(layer) for layer in layers]
    devices = sum(one.numel() for one in wear)
    total = sum(int(one.sum()) for one in wear)
    return {"most": max(int(one.max()) for one in wear), "mean": round(total / devices, 2)}
