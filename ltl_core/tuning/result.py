"""What comes of a tuning: register codes, how alike the circuits are, which of them failed."""

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
THRESHOLD_FRACTION_MAX = 0.35  # of the spread with registers at zero
LEAK_FRACTION_MAX = 0.30  # of the spread with registers at zero


class Spread(NamedTuple):
    """How much the circuits of one layer differ; None if it has no such circuits."""

    adc_lsb: float  # largest difference between two converters, at any level, LSB
    threshold: float | None  # standard deviation, as a fraction of the threshold
    leak: float | None  # standard deviation, as a fraction of the time constant
    clipped: float | None = None  # fraction of the conversions; None if no samples were presented


class Success(NamedTuple):
    """Which circuits came close to nominal; the others are left out of a spread."""

    adc: Bool[Tensor, "tile column"]
    threshold: Bool[Tensor, " column"]
    leak: Bool[Tensor, " column"]
    adc_range: Bool[Tensor, " range"]  # whether few enough conversions are clipped in it

    @property
    def failed(self) -> dict[str, int]:
        """Number of circuits of each kind that did not come close to nominal."""
        return {name: int((~mask).sum()) for name, mask in self._asdict().items()}


class TunedLayer(NamedTuple):
    """What a tuning found for one layer."""

    tuning: Tuning
    success: Success
    before: Spread  # with the registers at zero
    after: Spread  # with the registers as found


class TuningCheck(NamedTuple):
    """Whether the circuits of one layer, measured again, are alike."""

    spread: Spread
    failures: tuple[str, ...]  # a sentence for each limit that is not kept; empty is good

    @property
    def passed(self) -> bool:
        """Whether all limits are kept."""
        return not self.failures


def check_spread(spread: Spread, before: Spread, info: TuningInfo) -> TuningCheck:
    """Check that circuits are alike, within limits that follow from the spread `before` tuning.

    Converters: less than 3 LSB apart. Thresholds: less than 0.35 of the spread before, time
    constants less than 0.3, or less than one code. calix holds BrainScaleS-2 to these limits.
    """
    failures = []
    if not spread.adc_lsb < ADC_SPREAD_MAX:
        failures.append(f"converters differ by {spread.adc_lsb:.2f} LSB, {ADC_SPREAD_MAX} at most")
    neurons = (
        ("thresholds", spread.threshold, before.threshold, THRESHOLD_FRACTION_MAX),
        ("time constants", spread.leak, before.leak, LEAK_FRACTION_MAX),
    )
    one_code = (info.threshold.lsb, info.leak.lsb)
    for (what, now, untuned, fraction), lsb in zip(neurons, one_code, strict=True):
        if now is None or untuned is None:
            continue
        limit = max(fraction * untuned, lsb)
        if not now < limit:
            failures.append(f"{what} spread by {now:.2%}, {limit:.2%} at most")
    return TuningCheck(spread, tuple(failures))


def to_block(layers: Mapping[str, TunedLayer]) -> bytes:
    """Pack as a safetensors block: registers and masks as tensors, the spreads as metadata."""
    tensors: dict[str, Tensor] = {}
    about = {}
    for name, layer in layers.items():
        for group, fields in (("tuning", layer.tuning), ("success", layer.success)):
            for field, value in fields._asdict().items():
                tensors[f"{name}.{group}.{field}"] = torch.as_tensor(value)
        about[name] = {"before": layer.before, "after": layer.after}
    return pack(tensors, {"tuned": json.dumps(about)})


def from_block(block: bytes) -> dict[str, TunedLayer]:
    """Read a block of `to_block`. Raises CorruptTensorsError.

    An earlier block holds one range for all rows of tiles, and no gain of the readout.
    """
    tensors, metadata = unpack(block)
    try:
        about = json.loads(metadata["tuned"])
        return {name: _layer(name, spreads, tensors) for name, spreads in about.items()}
    except (KeyError, TypeError, ValueError) as error:
        raise CorruptTensorsError(f"it holds no registers: {error}") from error


def _layer(
    name: str, spreads: Mapping[str, list[float | None]], tensors: Mapping[str, Tensor]
) -> TunedLayer:
    several = [tensors[f"{name}.tuning.{field}"] for field in Tuning._fields[:-1]]
    gain = tensors.get(f"{name}.tuning.readout_gain", 0)
    tuning = Tuning._make([*several, int(gain)])
    success = Success(*(tensors[f"{name}.success.{field}"] for field in Success._fields))
    return TunedLayer(
        tuning._replace(adc_range=tuning.adc_range.expand(len(tuning.adc_offset))),
        success._replace(adc_range=success.adc_range.reshape(-1)),
        Spread(*spreads["before"]),  # type: ignore[arg-type]
        Spread(*spreads["after"]),  # type: ignore[arg-type]
    )
