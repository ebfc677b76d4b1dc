"""What a calibration brought and changed, layer by layer."""

from collections.abc import Mapping
from typing import NamedTuple

from ltl_core.chip import LayerCodes
from ltl_core.network.spec import NetworkSpec
from ltl_core.network.stages import Stage
from ltl_core.student.evaluate import Quality


class LayerOutcome(NamedTuple):
    """One layer of neurons before and after a calibration, with all weights that lead into it."""

    layer: str
    # Root mean square of measured rates against the target's, spikes a step; None of the readout.
    rate_error_before: float | None
    rate_error_after: float | None
    cells: int  # weights
    cells_changed: int  # weights whose code is another one now
    trims: int  # biases and thresholds
    trims_changed: int


class Codes(NamedTuple):
    """The codes on a chip before and after, by name of the layer."""

    before: Mapping[str, LayerCodes]
    after: Mapping[str, LayerCodes]


def outcome_by_layer(
    network: NetworkSpec, codes: Codes, before: Quality, after: Quality
) -> tuple[LayerOutcome, ...]:
    """Return what became of each layer, in the order in which they are computed."""
    hidden = [stage.name for stage in network.stages if not stage.is_readout]
    errors = dict(zip(hidden, zip(before.rate_error, after.rate_error, strict=True), strict=True))
    nothing = (None, None)
    return tuple(_outcome(one, codes, *errors.get(one.name, nothing)) for one in network.stages)


def _outcome(stage: Stage, codes: Codes, was: float | None, now: float | None) -> LayerOutcome:
    cells, cells_changed = _count(codes, stage, ("weight",))
    trims, trims_changed = _count(codes, stage, ("bias", "threshold"))
    return LayerOutcome(stage.name, was, now, cells, cells_changed, trims, trims_changed)


def _count(codes: Codes, stage: Stage, fields: tuple[str, ...]) -> tuple[int, int]:
    """Return how many codes these fields of a stage have, and how many of them changed."""
    pairs = [
        (getattr(codes.before[layer.name], field), getattr(codes.after[layer.name], field))
        for layer in stage.matrices
        for field in fields
    ]
    return sum(new.numel() for _, new in pairs), sum(int((old != new).sum()) for old, new in pairs)
