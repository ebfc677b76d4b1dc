"""What a tuning came to: registers, how alike the circuits are, which of them are not."""

import json
from collections.abc import Mapping
from typing import NamedTuple

import torch
from jaxtyping import Bool
from torch import Tensor

from ltl_core.chip import Tuning, TuningInfo
from ltl_core.errors import CorruptTensorsError
from ltl_core.packing import pack, unpack

ADC_SPREAD_MAX = 3.0  # LSB, between any two converters of a layer
THRESHOLD_SHARE_MAX = 0.35  # of the spread with registers at zero
LEAK_SHARE_MAX = 0.30  # likewise


class Spread(NamedTuple):
    """How much the circuits of one layer differ. None where it has no such circuits."""

    adc_lsb: float  # between the two converters that differ most, wherever in their range
    threshold: float | None  # standard deviation, in parts of the threshold
    leak: float | None  # of the time constant, likewise
    clipped: float | None = None  # part of the conversions; None where no samples were played


class Success(NamedTuple):
    """Circuits that came within reach of what was asked; all others are left out of a spread."""

    adc: Bool[Tensor, "tile column"]
    threshold: Bool[Tensor, " column"]
    leak: Bool[Tensor, " column"]
    adc_range: bool

    @property
    def failed(self) -> dict[str, int]:
        """How many did not."""
        masks = {"adc": self.adc, "threshold": self.threshold, "leak": self.leak}
        counts = {name: int((~mask).sum()) for name, mask in masks.items()}
        return counts | {"adc_range": int(not self.adc_range)}


class LayerTuned(NamedTuple):
    """Of one layer."""

    tuning: Tuning
    success: Success
    before: Spread  # with the registers at zero
    after: Spread


class Verdict(NamedTuple):
    """Of one layer, measured again."""

    spread: Spread
    failures: tuple[str, ...]  # sentences; none is good

    @property
    def passed(self) -> bool:
        return not self.failures


def judge(spread: Spread, before: Spread, info: TuningInfo) -> Verdict:
    """Whether circuits are alike: 3 LSB, 0.35 and 0.3 of the spread before, or one code's worth.

    The bounds are those that calibrated silicon is held to (calix, for BrainScaleS-2).
    """
    failures = []
    if not spread.adc_lsb < ADC_SPREAD_MAX:
        failures.append(f"converters differ by {spread.adc_lsb:.2f} LSB, {ADC_SPREAD_MAX} at most")
    parts = (
        ("thresholds", spread.threshold, before.threshold, THRESHOLD_SHARE_MAX, info.threshold.lsb),
        ("time constants", spread.leak, before.leak, LEAK_SHARE_MAX, info.leak.lsb),
    )
    for what, now, untuned, share, lsb in parts:
        if now is None or untuned is None:
            continue
        limit = max(share * untuned, lsb)
        if not now < limit:
            failures.append(f"{what} spread by {now:.2%}, {limit:.2%} at most")
    return Verdict(spread, tuple(failures))


def to_block(layers: Mapping[str, LayerTuned]) -> bytes:
    """As a safetensors block: registers and masks as tensors, the rest as text."""
    tensors: dict[str, Tensor] = {}
    about = {}
    for name, layer in layers.items():
        for group, fields in (("tuning", layer.tuning), ("success", layer.success)):
            for field, value in fields._asdict().items():
                tensors[f"{name}.{group}.{field}"] = torch.as_tensor(value)
        about[name] = {"before": layer.before, "after": layer.after}
    return pack(tensors, {"tuned": json.dumps(about)})


def from_block(block: bytes) -> dict[str, LayerTuned]:
    """What `to_block` wrote. Raises CorruptTensorsError."""
    tensors, metadata = unpack(block)
    try:
        about = json.loads(metadata["tuned"])
        return {name: _layer(name, spreads, tensors) for name, spreads in about.items()}
    except (KeyError, TypeError, ValueError) as error:
        raise CorruptTensorsError(f"it holds no registers: {error}") from error


def _layer(
    name: str, spreads: Mapping[str, list[float | None]], tensors: Mapping[str, Tensor]
) -> LayerTuned:
    *codes, adc_range = (tensors[f"{name}.tuning.{field}"] for field in Tuning._fields)
    *masks, ranged = (tensors[f"{name}.success.{field}"] for field in Success._fields)
    return LayerTuned(
        Tuning(codes[0], codes[1], codes[2], codes[3], int(adc_range)),
        Success(masks[0], masks[1], masks[2], bool(ranged)),
        Spread(*spreads["before"]),  # type: ignore[arg-type]
        Spread(*spreads["after"]),  # type: ignore[arg-type]
    )
